#pragma once

// Tiles of rows in shared memory, and how a warp takes matrix fragments from them.
#include "cuda/primitives.cuh"

namespace megaseg::cuda {

constexpr int kLanes = 32;
constexpr int kChunk = 16;               // bytes
constexpr int kChunkSize = 8;            // elements
constexpr int kSharedLimit = 99 * 1024;  // bytes that a block may have from compute capability 8.0 on

// Bytes from row to row: a chunk more than the row has. The eight rows that ldmatrix reads at a time then lie in eight
// different groups of banks, and, unlike in an exclusive-or swizzle, every address is a constant away from the lane's.
template <int kColumns>
constexpr int kPitch = 2 * kColumns + kChunk;

template <int kRows, int kColumns>
constexpr int kTileBytes = kRows * kPitch<kColumns>;

// Where lane l points in 16 rows and two chunks, in the order of a mma's first operand: rows 0-7 and 8-15 of the first
// chunk, then of the second. Transposed, a second operand: chunk 0's, then chunk 1's.
template <int kColumns>
MEGASEG_DEVICE int rows_first(int lane) {
  return lane % 16 * kPitch<kColumns> + lane / 16 * kChunk;
}

// As a second operand: both chunks of rows 0-7, then of rows 8-15.
template <int kColumns>
MEGASEG_DEVICE int chunks_first(int lane) {
  return (lane / 16 * 8 + lane % 8) * kPitch<kColumns> + lane / 8 % 2 * kChunk;
}

MEGASEG_GLOBAL const Chunk kZeros = {};

// Queues a tile's rows, shared among kThreads threads: `columns` elements from from(row), null for none, then zeros.
template <int kRows, int kColumns, int kThreads, typename From>
MEGASEG_DEVICE void copy_rows(unsigned char* tile, int thread, int columns, From from) {
  constexpr int kChunks = kColumns / kChunkSize;
  static_assert(kRows * kChunks % kThreads == 0 && kChunks % 2 == 0);
#pragma unroll 2
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int row = (i * kThreads + thread) / kChunks;
    const int chunk = (i * kThreads + thread) % kChunks;
    const std::uint16_t* source = from(row);
    const bool valid = source != nullptr && chunk * kChunkSize < columns;
    const void* element = valid ? static_cast<const void*>(source + chunk * kChunkSize) : &kZeros;
    copy_async(tile + row * kPitch<kColumns> + chunk * kChunk, element, valid);
  }
}

// Two stages of shared memory: a block works on one while the other is filled.
template <int kStageBytes>
class Pipeline {
 public:
  static constexpr int kBytes = 2 * kStageBytes;

  MEGASEG_DEVICE explicit Pipeline(unsigned char* memory) : stages_(memory) {}

  // Queues part 0: load(part, stage) calls copy_rows.
  template <typename Load>
  MEGASEG_DEVICE void start(Load load) {
    fill(0, turn_, load);
  }

  // use(part, stage) for every part, one or more; the first has been started. Then the next may be: it goes to the
  // stage that everyone has left.
  template <typename Load, typename Use>
  MEGASEG_DEVICE void run(int parts, Load load, Use use) {
#pragma unroll 1
    for (int part = 0; part < parts; ++part) {
      wait_copies<0>();
      sync_threads();  // everyone's share of this stage is there, and nobody reads the other any more
      if (part + 1 < parts) fill(part + 1, turn_ + 1, load);
      use(part, stages_ + turn_ % 2 * kStageBytes);
      ++turn_;
    }
  }

 private:
  template <typename Load>
  MEGASEG_DEVICE void fill(int part, unsigned turn, Load load) {
    load(part, stages_ + turn % 2 * kStageBytes);
    commit_copies();
  }

  unsigned char* stages_;
  unsigned turn_ = 0;
};

// Lane t of four gets word t of each: word[i] is what lane i had as word[t].
MEGASEG_DEVICE void transpose_quad(Chunk& chunk, int lane) {
  const auto exchange = [lane](std::uint32_t& low, std::uint32_t& high, int mask) {
    const bool upper = (lane & mask) != 0;
    const std::uint32_t got = shuffle_xor(upper ? low : high, mask);
    (upper ? low : high) = got;
  };
  exchange(chunk.word[0], chunk.word[1], 1);
  exchange(chunk.word[2], chunk.word[3], 1);
  exchange(chunk.word[0], chunk.word[2], 2);
  exchange(chunk.word[1], chunk.word[3], 2);
}

}  // namespace megaseg::cuda
