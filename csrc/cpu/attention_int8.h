// Softmax attention of one head in int8, for long key sets. Scores and weighted sums of values are exact sums of
// products of bytes; a weight is a byte, 255 times a power of two from a table. Keys and values come in blocks with
// scales of their own, and each block's weights begin at its highest score; float32 sums join the blocks. Keys and
// values are taken less a mean of some of them: the softmax does not see that of the keys, and that of the values is
// added to the result.
#pragma once

#include "cpu/attention.h"
#include "cpu/bytes.h"

#if defined(MEGASEG_INT8)

namespace {

constexpr int kBlockKeys = megaseg::cpu::kPanelKeys;
constexpr int kScoreStride = kBlockKeys + 32;  // int16 elements; no power of two, for the cache's sake
constexpr int kSampled = 64;                   // keys of the mean
constexpr int kShortMost = 32767;

// Sizes of one head in whole words, tiles and vectors.
struct ByteHead {
  int size;
  int depth;    // bytes that a score sums over
  int columns;  // of values and sums
  int shift;    // makes 16 bits of a score

  explicit ByteHead(int head_size)
      : size(head_size), depth(round_up(head_size, Products<Int8>::kDepth)), columns(round_up(head_size, kLanes)) {
    depth = round_up(depth, kLanes);
    for (shift = 0; 127 * 127 * size >> shift > kShortMost;) ++shift;
  }
};

// Up to kBlockKeys keys and values.
struct ByteBlock {
  std::uint8_t* keys;    // signed [kBlockKeys / kPanel, depth / 4, kPanel, 4]; order: token_of_lane()
  std::uint8_t* values;  // signed [kBlockKeys / 4, columns, 4]
  std::int32_t* offset;  // [kBlockKeys] -128 * the sum of a key: queries are stored as unsigned
  float* key_mean;       // [columns]
  float* value_mean;     // [columns]
  float* value_scale;    // [columns]
  float* key_scale;      // [1]

  static std::size_t bytes(const ByteHead& head) {
    return kBlockKeys * static_cast<std::size_t>(head.depth + head.columns + 4) +
           sizeof(float) * static_cast<std::size_t>(3 * head.columns + kLanes);
  }
  static std::size_t bytes(int key_count, int head_size) {
    return static_cast<std::size_t>(round_up(key_count, kBlockKeys) / kBlockKeys) * bytes(ByteHead(head_size));
  }
  ByteBlock(void* memory, const ByteHead& head, int begin)
      : keys(static_cast<std::uint8_t*>(memory) + static_cast<std::size_t>(begin / kBlockKeys) * bytes(head)),
        values(keys + static_cast<ptrdiff_t>(kBlockKeys) * head.depth),
        offset(reinterpret_cast<std::int32_t*>(values + static_cast<ptrdiff_t>(kBlockKeys) * head.columns)),
        key_mean(reinterpret_cast<float*>(offset + kBlockKeys)),
        value_mean(key_mean + head.columns),
        value_scale(value_mean + head.columns),
        key_scale(value_scale + head.columns) {}
};

// Magnitudes compared as integers, which order like the floats and put NaN on top: it reaches the scale.
MEGASEG_INLINE IntVec larger_magnitude(IntVec top, Vec x) {
  return larger(top, reinterpret_cast<IntVec>(x) & INT32_MAX);
}
MEGASEG_INLINE float float_of(std::int32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
// 127 / top; 0 where it would overflow.
MEGASEG_INLINE Vec inverse_of(Vec top) { return top < 1e-36F ? Vec{} : 127.0F / top; }

// The mean of up to kSampled rows from i, evenly spaced.
template <typename Rows>
MEGASEG_INLINE Vec sampled_mean(const Rows& row, int count, int i) {
  const int step = (count + kSampled - 1) / kSampled;
  Vec total{};
  int rows = 0;
  for (int t = 0; t < count; t += step, ++rows) total += row(t)(i);
  return total / static_cast<float>(rows);
}

// Bytes i to i + 4 * kLanes - 1 of a key.
template <typename Row>
MEGASEG_INLINE Vec key_words(const Row& row, const float* mean, Vec inverse, int i, int end) {
  const auto part = [&](int vec) {
    const int at = i + vec * kLanes;
    return at < end ? rounded((row(at) - load(mean + at)) * inverse) : IntVec{};
  };
  return narrow_to_bytes(part(0), part(1), part(2), part(3));
}

// kLanes keys of a panel: those of its vector `vec`. What lies past the last key is never the highest score.
template <typename Rows>
MEGASEG_INLINE void fill_keys(const Rows& key, int panel, int count, int vec, const ByteHead& head,
                              const ByteBlock& block) {
  const Vec inverse = inverse_of(splat(*block.key_scale));
  auto* to = block.keys + static_cast<ptrdiff_t>(panel) * head.depth + vec * kLanes * 4;
  constexpr std::uint8_t k128[4] = {128, 128, 128, 128};
  IntVec sums{};
  for (int i = 0; i < head.depth; i += 4 * kLanes) {
    Vec words[kLanes];
    for (int t = 0; t < kLanes; ++t) {
      const int token = panel + token_of_lane(vec, t);
      words[t] = token < count ? key_words(key(token), block.key_mean, inverse, i, head.columns) : Vec{};
    }
    transpose(words);
    for (int t = 0; t < kLanes && i + 4 * t < head.depth; ++t) {
      store_words(to + static_cast<ptrdiff_t>(i + 4 * t) * kPanel, words[t]);
      Int8::dot(sums, Int8::word(k128), reinterpret_cast<decltype(Int8::word(k128))>(words[t]));
    }
  }
  for (int t = 0; t < kLanes; ++t) {
    const bool exists = panel + token_of_lane(vec, t) < count;
    block.offset[panel + vec * kLanes + t] = exists ? -sums[t] : -(kShortMost << head.shift);
  }
}

template <typename Rows>
MEGASEG_INLINE void fill_values(const Rows& value, int count, const ByteHead& head, const ByteBlock& block) {
  for (int i = 0; i < head.columns; i += kLanes) {
    const Vec mean = load(block.value_mean + i);
    const Vec inverse = inverse_of(load(block.value_scale + i) * 127.0F);
    for (int token = 0; token < round_up(count, kPanel); token += 4) {
      IntVec words{};
      MEGASEG_UNROLL
      for (int t = 0; t < 4; ++t) {
        if (token + t >= count) continue;
        words |= (rounded((value(token + t)(i) - mean) * inverse) & 255) << (8 * t);
      }
      store_words(block.values + (static_cast<ptrdiff_t>(token) * head.columns + i * 4), reinterpret_cast<Vec>(words));
    }
  }
}

// Keys begin to end of `total`, whole blocks but for the last one: key(token) and value(token) are rows as in
// fill_panels().
template <typename Key, typename Value>
MEGASEG_INLINE void fill_blocks(const Key& key, const Value& value, int begin, int end, int total, int head_size,
                                void* memory) {
  const ByteHead head(head_size);
  for (; begin < end; begin += kBlockKeys) {
    const int count = end - begin < kBlockKeys ? end - begin : kBlockKeys;
    const ByteBlock block(memory, head, begin);
    IntVec key_tops{};
    for (int i = 0; i < head.columns; i += kLanes) {
      const Vec key_mean = sampled_mean(key, total, i);
      const Vec value_mean = sampled_mean(value, total, i);
      IntVec value_tops{};
      for (int t = begin; t < begin + count; ++t) {
        key_tops = larger_magnitude(key_tops, key(t)(i) - key_mean);
        value_tops = larger_magnitude(value_tops, value(t)(i) - value_mean);
      }
      store(block.key_mean + i, key_mean);
      store(block.value_mean + i, value_mean);
      store(block.value_scale + i, reinterpret_cast<Vec>(value_tops) / 127.0F);
    }
    *block.key_scale = float_of(largest(key_tops));
    for (int panel = 0; panel < count; panel += kPanel) {
      for (int vec = 0; vec < kTileVecs; ++vec) {
        fill_keys([&](int t) { return key(begin + t); }, panel, count, vec, head, block);
      }
    }
    *block.key_scale /= 127.0F;
    fill_values([&](int t) { return value(begin + t); }, count, head, block);
  }
}

// A block of queries on its way through the keys.
struct ByteQueries {
  static constexpr int kRows = Products<Int8>::kQueryBlock;
  static constexpr int kLanesOfRows = round_up(kRows, kLanes);

  ByteHead head;
  std::int16_t* scores;              // [kRows, kScoreStride]; weights, bytes, take their place
  std::uint8_t* query;               // [kRows, depth] unsigned: 128 more
  std::int32_t* sums;                // [kRows, columns] of a block
  std::int32_t* tile;                // [kRows, kPanel] scores that come by way of memory
  float* out;                        // [kRows, columns]
  float unit[kLanesOfRows] = {};     // octaves by unit of a query and a key
  float top[kLanesOfRows] = {};      // the block's highest score, octaves
  float share[kLanesOfRows] = {};    // the sum of a block's weights; then 2^(top - maximum)
  float maximum[kLanesOfRows] = {};  // octaves
  float total[kLanesOfRows] = {};    // of weights
  float decay[kLanesOfRows] = {};    // of earlier blocks

  static std::size_t bytes(int head_size) {
    const ByteHead head(head_size);
    return kRows * static_cast<std::size_t>(2 * kScoreStride + head.depth + 8 * head.columns + 4 * kPanel);
  }
  ByteQueries(void* memory, int head_size)
      : head(head_size),
        scores(static_cast<std::int16_t*>(memory)),
        query(reinterpret_cast<std::uint8_t*>(scores + kRows * kScoreStride)),
        sums(reinterpret_cast<std::int32_t*>(query + static_cast<ptrdiff_t>(kRows) * head.depth)),
        tile(sums + static_cast<ptrdiff_t>(kRows) * head.columns),
        out(reinterpret_cast<float*>(tile + kRows * kPanel)) {}
  std::uint8_t* weights() const { return reinterpret_cast<std::uint8_t*>(scores); }
};

// Scores of `rows` queries and a panel of keys.
#if defined(MEGASEG_AMX)
MEGASEG_INLINE void score_panel(Products<Int8>& products, const ByteQueries& of, const std::uint8_t* keys,
                                const std::int32_t* offset, int rows, std::int16_t* to) {
  products.run(of.query, of.head.depth, keys, kPanel * 4, of.head.depth, of.tile, kPanel, false, rows, kTileVecs);
  for (int r = 0; r < rows; ++r) {
    IntVec sum[kTileVecs];
    for (int j = 0; j < kTileVecs; ++j) {
      sum[j] = Int8::add(load(of.tile + r * kPanel + j * kLanes), load(offset + j * kLanes));
    }
    store_scores(to + r * kScoreStride, sum, of.head.shift);
  }
}
#else
MEGASEG_INLINE void score_panel(Products<Int8>&, const ByteQueries& of, const std::uint8_t* keys,
                                const std::int32_t* offset, int rows, std::int16_t* to) {
  for (int row = 0; row < rows; row += kTileRows) {
    IntVec acc[kTileRows][kTileVecs];
    MEGASEG_UNROLL
    for (int r = 0; r < kTileRows; ++r) {
      MEGASEG_UNROLL
      for (int j = 0; j < kTileVecs; ++j) acc[r][j] = load(offset + j * kLanes);
    }
    multiply<Int8, kTileRows, kTileVecs>(of.query + row * of.head.depth, of.head.depth, keys, kPanel * 4, of.head.depth,
                                         acc);
    MEGASEG_UNROLL
    for (int r = 0; r < kTileRows; ++r) store_scores(to + (row + r) * kScoreStride, acc[r], of.head.shift);
  }
}
#endif

MEGASEG_INLINE int highest(const std::int16_t* row, int keys) {
  Shorts top = load_shorts(row);
  for (int i = kShorts; i < keys; i += kShorts) top = larger(top, load_shorts(row + i));
  return largest(top);
}

// Scores become weights 255 * 2^(steps / kSteps * (score - top)), 0 past the last key, in place; returns their sum.
MEGASEG_INLINE int soften(std::int16_t* row, int keys, int top, float steps) {
  // Scores that lie steps apart: differences are doubled until a factor below 1 is left.
  for (int doubled = 0; steps >= 1 && doubled < 16; ++doubled, top = 0, steps *= 0.5F) {
    for (int i = 0; i < round_up(keys, kPanel); i += kShorts) {
      store_shorts(row + i, twice(less(load_shorts(row + i), splat_short(top))));
    }
  }
  const float factor = steps * 32768.0F + 0.5F;
  const Shorts by = splat_short(static_cast<int>(factor < kShortMost ? factor : kShortMost));
  const Shorts from = splat_short(top);
  auto* weights = reinterpret_cast<std::uint8_t*>(row);
  IntVec total{};
  for (int i = 0; i < keys; i += kPanel) {
    Shorts below[kPanel / kShorts];
    MEGASEG_UNROLL
    for (int j = 0; j < kPanel / kShorts; ++j) below[j] = scaled(less(from, load_shorts(row + i + j * kShorts)), by);
    store_weights(weights + i, below, keys - i < kPanel ? keys - i : kPanel, total);
  }
  return sum(total);
}

// Takes a block's sums into the results so far.
MEGASEG_INLINE void join_block(ByteQueries& of, int rows, const ByteBlock& block) {
  for (int r = 0; r < of.kLanesOfRows; r += kLanes) {
    const Vec before = load(of.maximum + r);
    const Vec top = load(of.top + r);
    const Vec maximum = max(before, top);  // in this order NaN stays
    const Vec decay = exp2(before - maximum);
    const Vec share = exp2(top - maximum);
    store(of.total + r, load(of.total + r) * decay + load(of.share + r) * share);
    store(of.maximum + r, maximum);
    store(of.decay + r, decay);
    store(of.share + r, share);
  }
  for (int r = 0; r < rows; ++r) {
    float* out = of.out + static_cast<ptrdiff_t>(r) * of.head.columns;
    const std::int32_t* sums = of.sums + static_cast<ptrdiff_t>(r) * of.head.columns;
    for (int i = 0; i < of.head.columns; i += kLanes) {
      const Vec values = __builtin_convertvector(load(sums + i), Vec) * load(block.value_scale + i);
      store(out + i, load(out + i) * of.decay[r] + values * of.share[r]);
    }
  }
}

// of.out = softmax(query keys^T) values, unnormalised, for the first `rows` queries of the block.
[[gnu::noinline]] void attend_bytes(Products<Int8>& products, ByteQueries& of, int rows, int keys, void* memory) {
  const ByteHead head = of.head;
  for (int begin = 0; begin < keys; begin += kBlockKeys) {
    const ByteBlock block(memory, head, begin);
    const int count = keys - begin < kBlockKeys ? keys - begin : kBlockKeys;
    for (int key = 0; key < count; key += kPanel) {
      score_panel(products, of, block.keys + static_cast<ptrdiff_t>(key) * head.depth, block.offset + key, rows,
                  of.scores + key);
    }
    for (int r = 0; r < rows; ++r) {
      std::int16_t* row = of.scores + r * kScoreStride;
      const int top = highest(row, round_up(count, kPanel));
      const float unit = of.unit[r] * *block.key_scale;
      of.top[r] = static_cast<float>(top) * unit;
      of.share[r] = static_cast<float>(soften(row, count, top, unit * kSteps));
    }
    for (int i = 0; i < head.columns; i += kPanel) {
      products.run(of.weights(), 2 * kScoreStride, block.values + i * 4, head.columns * 4, round_up(count, kPanel),
                   of.sums + i, head.columns, false, rows, panel_vecs(i, head.columns));
    }
    join_block(of, rows, block);
  }
}

// element = round(x / scale) + 128; returns the scale.
template <typename Row>
MEGASEG_INLINE float quantise(const Row& row, std::uint8_t* to, const ByteHead& head) {
  IntVec tops{};
  for (int i = 0; i < head.columns; i += kLanes) tops = larger_magnitude(tops, row(i));
  const float top = float_of(largest(tops));
  const Vec inverse = inverse_of(splat(top));
  for (int i = 0; i < head.depth; i += kLanes) store_bytes(to + i, rounded(row(i) * inverse) + 128);
  return top / 127.0F;
}

// As attend_all(), from blocks.
template <typename Query, typename Out>
MEGASEG_INLINE void attend_all_bytes(const Query& query, const Out& out, int queries, int keys, int head_size,
                                     float scale, void* memory, void* scratch) {
  Products<Int8> products;
  ByteQueries of(scratch, head_size);
  const ByteHead head = of.head;
  const float* mean = ByteBlock(memory, head, 0).value_mean;
  for (int begin = 0; begin < queries; begin += of.kRows) {
    const int rows = queries - begin < of.kRows ? queries - begin : of.kRows;
    for (int r = 0; r < rows; ++r) {
      of.unit[r] = quantise(query(begin + r), of.query + static_cast<ptrdiff_t>(r) * head.depth, head) * scale *
                   kLog2E * static_cast<float>(1 << head.shift);
    }
    for (int i = 0; i < of.kLanesOfRows; ++i) of.maximum[i] = kNever, of.total[i] = 0;
    __builtin_memset(of.out, 0, sizeof(float) * static_cast<std::size_t>(of.kRows * head.columns));
    attend_bytes(products, of, rows, keys, memory);
    for (int r = 0; r < rows; ++r) {
      auto* to = out(begin + r);
      const float share = 1.0F / of.total[r];
      const auto value = [&](int i) { return load(of.out + r * head.columns + i) * share + load(mean + i); };
      int i = 0;
      for (; i + kLanes <= head.size; i += kLanes) store(to + i, value(i));
      if (i < head.size) store_partial(to + i, value(i), head.size - i);
    }
  }
}

}  // namespace

#endif
