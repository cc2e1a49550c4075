// Where each value of a program lies in the workspace: values share memory when their lives do not overlap.
#pragma once

#include <cstddef>
#include <vector>

#include "core/program/program.h"
#include "core/run/parallel.h"

namespace megaseg {

// Sizes of one batch of sequences.
struct Shape {
  int sequences;
  int latents;  // of all sequences
  int longest;  // latents of a sequence
  int shots;    // whose rows the windows see, or later ones will

  int rows(const Value& value) const;
};

// How long values live, whatever their sizes.
class Lives {
 public:
  explicit Lives(const Program& program);

  // The value whose memory a selection looks into; itself for all others.
  int base(int value) const { return base_[static_cast<std::size_t>(value)]; }
  // Step after which nobody reads the memory of a value.
  std::size_t end(int value) const { return end_[static_cast<std::size_t>(base(value))]; }
  // Rows of shots that other rows are made of: kept for the windows to come.
  bool kept(int value) const { return kept_[static_cast<std::size_t>(value)]; }
  // Has memory in the workspace: neither features, nor a selection, nor the logits.
  bool stored(int value) const { return stored_[static_cast<std::size_t>(value)]; }

  // Where the row of each kept value lies in a shot's record.
  struct Row {
    int value;
    std::size_t offset;
    std::size_t bytes;
  };
  const std::vector<Row>& kept_rows() const { return kept_rows_; }
  std::size_t record_bytes() const { return record_bytes_; }
  // Windows are made of kept rows alone, not of features too.
  bool keeps() const { return keeps_; }

 private:
  std::vector<int> base_;
  std::vector<std::size_t> end_;
  std::vector<bool> kept_;
  std::vector<bool> stored_;
  std::vector<Row> kept_rows_;
  std::size_t record_bytes_ = 0;
  bool keeps_;
};

struct Layout {
  Layout(const Program& program, const Lives& lives, const Ops& ops, const Shape& shape);

  std::vector<std::size_t> offset;   // of each value, in bytes
  std::vector<std::size_t> scale;    // of the rows' scales of an int8 value
  std::vector<std::size_t> scratch;  // of each step
  std::size_t indices = 0;           // room for index_count() ints
  std::size_t bytes = 0;

  // row, place and slot of every latent; begin of every sequence, and 0, 1, 2, ...
  static std::size_t index_count(const Shape& shape);
};

}  // namespace megaseg
