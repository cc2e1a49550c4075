// Runs a program over movies, chunk by chunk.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/memory/buffer.h"
#include "core/run/run.h"

namespace megaseg {

class Executor {
 public:
  // A checked program.
  Executor(const Program& program, Ops& ops);

  // The most workspace that any run takes, whatever the movies.
  std::size_t workspace_bytes() const;
  // Shrinks chunks so that workspace_bytes() stays within `bytes`; false when they cannot shrink that far.
  bool fit(std::size_t bytes);

  // An empty cache for a movie; none where sequences are made of features themselves.
  std::unique_ptr<RowCache> new_cache() const;
  bool made(const RowCache& cache) const { return &cache.lifetimes() == &lifetimes_; }

  // `workspace` grows to what this run needs. Throws BadFeatures: ids without a row in the model's tables, or outputs
  // that are not finite. `profile`, if any, gets the times of the steps.
  void run(std::span<const Movie> movies, Buffer& workspace, std::span<const Destination> destinations,
           Profile* profile);

 private:
  Layout layout_of(const Shape& shape) const;
  Layout layout(const Shape& shape) const;
  void require_ids(std::span<const Movie> movies) const;
  void require_finite(std::span<const Movie> movies, const Destination& destination) const;

  const Program& program_;
  Ops& ops_;
  Lifetimes lifetimes_;
  std::vector<int> slot_counts_;
  std::vector<int> id_limits_;
  std::unique_ptr<Schedule> schedule_;
  Layout most_;                      // of the largest chunk
  std::unique_ptr<RowCache> spare_;  // for the movie that goes on in the next chunk
};

}  // namespace megaseg
