// Softmax attention of one head, shared by the ops that differ in where queries, keys and values come from. Keys are
// taken in blocks with a running maximum, so that scores never exceed one block of queries by one block of keys.
#pragma once

#include "cpu/tile.h"
#include "cpu/vec.h"

namespace {

constexpr int kQueryBlock = 24;  // rows that share a block of keys while it is in the L1 cache
constexpr int kKeyBlock = 128;   // a multiple of kPanel on every target
constexpr float kLog2E = 1.44269504F;

// Packed keys: [keys / kPanel, head_size, kPanel], then values: [keys, head_size rounded up to whole vectors].
MEGASEG_INLINE ptrdiff_t packed_keys(int keys) { return round_up(keys, kPanel); }

MEGASEG_INLINE std::size_t packed_size(int keys, int head_size) {
  return static_cast<std::size_t>(packed_keys(keys)) *
         static_cast<std::size_t>(head_size + round_up(head_size, kLanes));
}

MEGASEG_INLINE void pack_token(const float* k, const float* v, int token, int keys, int head_size, float* packed) {
  const int padded = round_up(head_size, kLanes);
  float* column = packed + static_cast<ptrdiff_t>(token / kPanel) * kPanel * head_size + token % kPanel;
  for (int i = 0; i < head_size; ++i) column[static_cast<ptrdiff_t>(i) * kPanel] = k[i];
  float* value = packed + packed_keys(keys) * head_size + static_cast<ptrdiff_t>(token) * padded;
  for (int i = 0; i < padded; ++i) value[i] = i < head_size ? v[i] : 0.0F;
}

// Keys that fill up the last panel: zeros, so that their scores are finite.
MEGASEG_INLINE void pack_padding(int keys, int head_size, float* packed) {
  for (int token = keys; token < packed_keys(keys); ++token) {
    float* column = packed + static_cast<ptrdiff_t>(token / kPanel) * kPanel * head_size + token % kPanel;
    for (int i = 0; i < head_size; ++i) column[static_cast<ptrdiff_t>(i) * kPanel] = 0.0F;
  }
}

MEGASEG_INLINE void copy_scaled(const float* in, float* out, int size, float scale) {
  for (int i = 0; i < size; ++i) out[i] = in[i] * scale;
}

// A block of queries on its way through the keys.
struct QueryBlock {
  float* query;   // [kQueryBlock, head_size], scaled by log2(e) / sqrt(head_size)
  float* scores;  // [kQueryBlock, kKeyBlock]
  float* out;     // [kQueryBlock, padded head_size]
  float maximum[kQueryBlock];
  Vec total[kQueryBlock];  // of the weights, lane by lane

  static std::size_t scratch_size(int head_size) {
    return static_cast<std::size_t>(kQueryBlock) *
           static_cast<std::size_t>(2 * round_up(head_size, kLanes) + kKeyBlock);
  }
  QueryBlock(float* scratch, int head_size)
      : query(scratch),
        scores(scratch + static_cast<ptrdiff_t>(kQueryBlock) * round_up(head_size, kLanes)),
        out(scores + static_cast<ptrdiff_t>(kQueryBlock) * kKeyBlock) {}
};

// Vectors that hold the columns from `begin` to the end of the panel or to `end`.
MEGASEG_INLINE int panel_vecs(int begin, int end) {
  const int left = end - begin;
  return left >= kPanel ? kTileVecs : (left + kLanes - 1) / kLanes;
}

// The running maximum takes in a block of scores; totals and `out` follow where it rises.
MEGASEG_INLINE void raise_maximum(QueryBlock& block, int rows, int keys, int padded) {
  for (int r = 0; r < rows; ++r) {
    float* row = block.scores + r * kKeyBlock;
    for (int i = keys; i < round_up(keys, kLanes); ++i) row[i] = -1e30F;  // padding keys take no part
    Vec top = load(row);
    for (int i = kLanes; i < keys; i += kLanes) top = max(top, load(row + i));
    const float highest = maximum(top);
    if (highest <= block.maximum[r]) continue;
    const Vec rescale = exp2(splat(block.maximum[r] - highest));
    float* out = block.out + r * padded;
    for (int i = 0; i < padded; i += kLanes) store(out + i, load(out + i) * rescale);
    block.total[r] *= rescale;
    block.maximum[r] = highest;
  }
}

// Scores become weights 2^(score - maximum). A loop of its own: no row waits for another's maximum.
MEGASEG_INLINE void soften(QueryBlock& block, int rows, int keys) {
  for (int r = 0; r < rows; ++r) {
    float* row = block.scores + r * kKeyBlock;
    Vec total = block.total[r];
    for (int i = 0; i < keys; i += kLanes) {
      const Vec weight = exp2(load(row + i) - block.maximum[r]);
      total += weight;
      store(row + i, weight);
    }
    block.total[r] = total;
  }
}

// block.out = softmax(query keys^T) values, for the first `rows` queries of the block.
[[gnu::noinline]] void attend(QueryBlock& block, int rows, int keys, int head_size, const float* packed) {
  const int padded = round_up(head_size, kLanes);
  const float* values = packed + packed_keys(keys) * head_size;
  for (int i = 0; i < rows * padded; i += kLanes) store(block.out + i, Vec{});
  for (int r = 0; r < rows; ++r) block.maximum[r] = -1e30F, block.total[r] = Vec{};
  for (int begin = 0; begin < keys; begin += kKeyBlock) {
    const int count = keys - begin < kKeyBlock ? keys - begin : kKeyBlock;
    for (int key = 0; key < count; key += kPanel) {
      product<false>(block.query, head_size, packed + static_cast<ptrdiff_t>(begin + key) * head_size, kPanel,
                     head_size, block.scores + key, kKeyBlock, rows, panel_vecs(key, count));
    }
    raise_maximum(block, rows, count, padded);
    soften(block, rows, count);
    for (int column = 0; column < padded; column += kPanel) {
      product<true>(block.scores, kKeyBlock, values + static_cast<ptrdiff_t>(begin) * padded + column, padded, count,
                    block.out + column, padded, rows, panel_vecs(column, padded));
    }
  }
}

}  // namespace
