// Scores of the windows of two movies, block by block, by as many threads as work on the pair.
#pragma once

#include <cstddef>
#include <vector>

#include "core/memory/buffer.h"
#include "core/pairs/window_pairs.h"

namespace megaseg {

// The threads that work on one pair of movies: those of a pool, or the caller's alone.
class Crew {
 public:
  explicit Crew(ThreadPool* pool) : pool_(pool) {}

  int size() const { return pool_ ? pool_->size() : 1; }
  void run(int count, const ThreadPool::Task& task) const {
    if (pool_) return pool_->run(count, task);
    for (int i = 0; i < count; ++i) task(i, 0);
  }

 private:
  ThreadPool* pool_;
};

// Both movies' window sums, v's packed in blocks of columns. Any score has the same bits however it is asked for.
class Scores {
 public:
  static constexpr int kRows = 96;    // of a block: as many as linear passes by a panel
  static constexpr int kSample = 64;  // columns of a sample, and twice as many rows

  Scores(const cpu::KernelTable& kernels, const Crew& crew, const WindowPairsArgs& args);

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  int blocks() const { return blocks_; }
  const cpu::KernelTable& kernels() const { return kernels_; }
  const Crew& crew() const { return crew_; }

  // The columns of a block, as bits.
  std::uint64_t all_of(int block) const;

  // What of the movies is not finite, or nothing.
  const char* not_finite() const { return not_finite_; }

  // The scores of rows [begin, begin + count), at most kRows of them, or of rows given by number; [count, kScoreBlock]
  // in the thread's own memory until it asks again.
  const float* block(int block, int begin, int count, int thread) const;
  const float* block(int block, const int* rows, int count, int thread) const;

  // Every so many rows and columns.
  std::vector<float> sample() const;

 private:
  cpu::ConstRows row(int begin, int step = 1) const;
  float* scratch(int thread) const;
  std::byte* packed(int block) const;
  bool pack(int block, int begin, int step, int count, int thread);  // whether all are finite
  const float* product(cpu::ConstRows rows, int count, int block, int thread) const;

  const cpu::KernelTable& kernels_;
  const Crew& crew_;
  const WindowPairsArgs& args_;
  int rows_;
  int columns_;
  int blocks_;
  int sample_step_;
  std::size_t packed_size_;   // bytes of a block
  std::size_t scratch_size_;  // floats of a thread
  Buffer sums_;               // u's [rows, size]
  Buffer packed_;             // v's blocks, and one of the sample's columns
  Buffer scratch_;
  const char* not_finite_ = "";
};

}  // namespace megaseg
