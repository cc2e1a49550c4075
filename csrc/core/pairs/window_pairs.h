// The greedy choice of pairs of windows of two movies: the highest scores of a matrix that is never held, which share
// no row.
#pragma once

#include <cstdint>
#include <vector>

#include "core/platform/thread_pool.h"
#include "cpu/kernels.h"

namespace megaseg {

// Scores: sums over windows of u times those of v, window^2 times the mean similarity of their shots.
struct WindowPairsArgs {
  cpu::ConstRows u;  // [u_rows, size] float32 or bfloat16
  cpu::ConstRows v;  // [v_rows, size], the same type
  int u_rows;        // at least `window`
  int v_rows;
  int size;
  int window;
  std::int64_t candidates;  // the highest scores, of which pairs are taken, and those that tie with the last of them
};

struct WindowPairs {
  std::vector<std::int32_t> first;  // [pairs, 2] first rows of the windows, in the order taken
  std::vector<float> scores;        // [pairs] mean similarities
  const char* not_finite = "";      // what is not finite: "us", "vs", or "similarities" of the two
};

// Many pairs of movies are shared out among the threads, few are worked on by all of them in turn: equal bits.
std::vector<WindowPairs> window_pairs(const cpu::KernelTable& kernels, ThreadPool& pool,
                                      const std::vector<WindowPairsArgs>& movies);

}  // namespace megaseg
