// Runs a program over movies: a scene model in chunks of neighbouring windows, others in batches of whole movies.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/memory/buffer.h"
#include "core/run/run.h"

namespace megaseg {

class Executor {
 public:
  // Throws BadArtefact where steps ask for what no step can do.
  Executor(const Program& program, Ops& ops);

  // The most workspace that any run takes, whatever the movies.
  std::size_t workspace_bytes() const;
  // Shrinks chunks so that workspace_bytes() stays within `bytes`; false when they cannot shrink that far.
  bool fit(std::size_t bytes);

  // An empty keeper of a movie; none where windows are made of features themselves.
  std::unique_ptr<Keeper> keep() const;
  bool made(const Keeper& keeper) const { return &keeper.lives() == &lives_; }

  // `workspace` grows to what this run needs. Throws BadFeatures: logits that are not finite.
  void run(std::span<const Movie> movies, Buffer& workspace, const Output& output);

 private:
  int kept_shots() const { return 2 * program_.half(); }  // that a window sees beside those that come
  int fewest_rows() const { return windows_ + 2 * kept_shots(); }
  Shape largest() const;
  void resize(int windows, int rows);
  Layout layout(const Shape& shape) const;
  View view(const Source& source, int first, int windows) const;
  std::vector<Chunk> window_chunks(std::span<const Source> sources) const;
  std::vector<Chunk> movie_chunks(std::span<const Source> sources) const;

  const Program& program_;
  Ops& ops_;
  Lives lives_;
  int slots_ = 1;                  // bottleneck tokens that the positions of a sequence are aligned to
  int windows_ = 0;                // of a chunk, at most
  int rows_ = 0;                   // of shots that a chunk of windows sees, at most
  Layout most_;                    // of the largest chunk
  std::unique_ptr<Keeper> spare_;  // for the movie that goes on in the next chunk
};

}  // namespace megaseg
