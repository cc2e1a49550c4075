// Which scores are among the highest so many: by counting, as finely as it is asked for.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels.h"

namespace megaseg {

// No score is kept: a pass over all of them counts by bins of neighbouring floats, and there is another pass only where
// the choice of a pair depends on what is inside a bin.
class Candidates {
 public:
  // The highest `count` of `total` scores, and those that tie with the last of them.
  Candidates(std::int64_t count, std::int64_t total, int threads);

  // Where to expect it, by some of the scores.
  void expect(std::vector<float> sample);

  // What a thread counts in the coming pass; null: there is nothing to find out.
  cpu::ScoreCounts* counts(int thread);
  void counted();  // a pass over all scores is complete

  // Whether a score is a candidate as far as is known; and whether that is known.
  bool includes(float score) const { return score >= low_; }
  bool decided(float score) const { return low_ == high_ || score < low_ || score > high_; }

 private:
  void begin(float low, float high);

  std::int64_t count_;
  std::int64_t total_;
  float low_;  // the lowest candidate lies between these two
  float high_;
  std::vector<cpu::ScoreCounts> counts_;
  std::vector<std::uint32_t> bins_;  // of all threads
};

}  // namespace megaseg
