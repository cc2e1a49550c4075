// Rows of a movie's last shots, which the windows after them are made of: handed from chunk to chunk of a run, and by
// whoever holds them from run to run.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/memory/buffer.h"
#include "core/memory/layout.h"

namespace megaseg {

class Keeper {
 public:
  // Holds no shots yet. `lives` outlive it. Throws std::bad_alloc.
  Keeper(const Lives& lives, int most);

  const Lives& lives() const { return lives_; }
  // The shots before the next one whose rows it holds: the last most() of the movie. None while a run is under way, nor
  // after one that failed.
  int shots() const { return shots_; }
  int most() const { return most_; }
  std::int64_t end() const { return end_; }  // shots of the movie so far
  std::size_t bytes() const { return records_.bytes(); }

  // Rows of a shot, as lives().kept_rows() lays them out. A later shot takes the place of the one most() before it.
  std::byte* record(std::int64_t shot) const;

  void let_go() { shots_ = 0; }
  void hold(std::int64_t end, int shots) {
    end_ = end;
    shots_ = shots;
  }

 private:
  const Lives& lives_;
  int most_;
  Buffer records_;
  std::int64_t end_ = 0;
  std::atomic<int> shots_ = 0;  // read from other threads than the run's
};

}  // namespace megaseg
