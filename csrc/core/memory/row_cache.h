// Rows of a movie's last shots, which the windows after them are made of: handed from chunk to chunk of a run, and by
// whoever owns the cache from run to run.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/memory/buffer.h"
#include "core/memory/lifetimes.h"

namespace megaseg {

class RowCache {
 public:
  // Empty, with room for the rows of `most` shots. `lifetimes` outlive the cache. Throws std::bad_alloc.
  RowCache(const Lifetimes& lifetimes, int most);

  const Lifetimes& lifetimes() const { return lifetimes_; }
  // How many shots have their rows here: the last of the movie so far, at most most(). None while a run is under way,
  // nor after one that failed.
  int shots() const { return shots_; }
  int most() const { return most_; }
  std::int64_t end() const { return end_; }  // shots of the movie so far
  std::size_t bytes() const { return records_.bytes(); }

  // Rows of a shot, as lifetimes().cached_rows() lays them out. A later shot takes the place of the one most() before.
  std::byte* record(std::int64_t shot) const;

  void invalidate() { shots_ = 0; }
  // The records of the `shots` shots before `end` are complete.
  void commit(std::int64_t end, int shots) {
    end_ = end;
    shots_ = shots;
  }

 private:
  const Lifetimes& lifetimes_;
  int most_;
  Buffer records_;
  std::int64_t end_ = 0;
  std::atomic<int> shots_ = 0;  // read from other threads than the run's
};

}  // namespace megaseg
