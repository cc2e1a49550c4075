// Where each value of a program lies in the workspace: values share memory when their lifetimes do not overlap.
#pragma once

#include <cstddef>
#include <vector>

#include "core/memory/lifetimes.h"
#include "core/program/program.h"

namespace megaseg {

// Sizes of one batch of sequences.
struct Shape {
  int sequences;
  int latents;             // of all sequences
  int longest;             // latents of a sequence
  int shots;               // whose rows the windows see, or later ones will
  int source = 0;          // rows of the second stream of all sequences
  int longest_source = 0;  // and of one

  int rows(const Value& value) const;
};

struct Layout {
  // `index_ints` are the ints that the steps' indices take, `scratch_bytes` what each step needs while it runs.
  Layout(const Program& program, const Lifetimes& lifetimes, const Shape& shape, std::size_t index_ints,
         const std::vector<std::size_t>& scratch_bytes);

  std::vector<std::size_t> offset;   // of each value, in bytes
  std::vector<std::size_t> grids;    // of the rows of an int8 value
  std::vector<std::size_t> scratch;  // of each step
  std::size_t indices = 0;
  std::size_t bytes = 0;
};

}  // namespace megaseg
