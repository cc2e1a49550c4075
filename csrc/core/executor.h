// Runs a program over movies: a scene model in chunks of neighbouring windows, others in batches of whole movies.
#pragma once

#include <span>
#include <vector>

#include "core/memory.h"
#include "core/run.h"

namespace megaseg {

class Executor {
 public:
  // Throws BadArtefact where steps ask for what no step can do.
  Executor(const Program& program, Ops& ops);

  // The most workspace that any run takes, whatever the movies.
  std::size_t workspace_bytes() const;
  // Shrinks chunks so that workspace_bytes() stays within `bytes`; false when they cannot shrink that far.
  bool fit(std::size_t bytes);
  // `workspace` grows to what this run needs.
  void run(std::span<const Movie> movies, Buffer& workspace, const Output& output);

 private:
  Shape shape_of(int sequences) const;  // of a chunk of windows
  std::vector<Chunk> chunks(std::span<const Movie> movies, const std::vector<int>& begins) const;

  const Program& program_;
  Ops& ops_;
  Lives lives_;
  int slots_ = 1;    // bottleneck tokens that the positions of a sequence are aligned to
  int windows_ = 0;  // of a chunk
};

}  // namespace megaseg
