// Softmax attention of one head, shared by the ops that differ in where queries, keys and values come from. Keys are
// taken in blocks with a running maximum, so that scores never exceed one block of queries by one block of keys.
// Products run over units of 32 bits, one float or two bfloat16: both types share one loop.
#pragma once

#include "cpu/ops.h"

namespace {

constexpr int kQueryBlock = 24;  // rows that share a block of keys while it is in the L1 cache
constexpr int kKeyBlock = 128;
constexpr float kLog2E = 1.44269504F;

#if defined(MEGASEG_AVX512)
constexpr int kScoreVecs = 4;  // accumulators: 4 vectors x 6 rows, 3 x 8, 2 x 12 or 1 x 12 of 32 registers
constexpr int most_rows(int vecs) { return vecs < 3 ? 12 : 24 / vecs; }
#else
constexpr int kScoreVecs = 2;  // of 16 registers
constexpr int most_rows(int) { return 6; }
#endif
constexpr int kScorePanel = kScoreVecs * kLanes;

template <typename T>
constexpr int kUnit = 4 / sizeof(T);  // elements of a unit
template <typename T>
constexpr int units(int elements) {
  return (elements + kUnit<T> - 1) / kUnit<T>;
}

MEGASEG_INLINE Vec splat_unit(const void* p) {
  std::int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return reinterpret_cast<Vec>(bits + IntVec{});
}

// acc + a b, summed over the elements of a unit.
template <typename T>
MEGASEG_INLINE Vec multiply_add(Vec acc, Vec a, Vec b) {
#if defined(MEGASEG_BF16)
  if constexpr (kUnit<T> == 2) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
#endif
  return acc + a * b;
}

// C[Rows, Vecs * kLanes] (+)= A[Rows, k] B[k, Vecs * kLanes]; k and strides of a and b in units.
template <typename T, bool kAccumulate, int Vecs, int Rows>
void product_tile(const float* a, ptrdiff_t a_stride, const float* b, ptrdiff_t b_stride, int k, float* c,
                  ptrdiff_t c_stride) {
  Vec acc[Rows][Vecs];
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MEGASEG_UNROLL
    for (int j = 0; j < Vecs; ++j) acc[i][j] = kAccumulate ? load(c + i * c_stride + j * kLanes) : Vec{};
  }
  MEGASEG_NO_UNROLL
  for (int p = 0; p < k; ++p, b += b_stride) {
    Vec column[Vecs];
    MEGASEG_UNROLL
    for (int j = 0; j < Vecs; ++j) column[j] = load(b + j * kLanes);
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Vec x = splat_unit(a + i * a_stride + p);
      MEGASEG_UNROLL
      for (int j = 0; j < Vecs; ++j) acc[i][j] = multiply_add<T>(acc[i][j], x, column[j]);
    }
  }
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MEGASEG_UNROLL
    for (int j = 0; j < Vecs; ++j) store(c + i * c_stride + j * kLanes, acc[i][j]);
  }
}

using ProductTile = void (*)(const float*, ptrdiff_t, const float*, ptrdiff_t, int, float*, ptrdiff_t);

template <typename T, bool kAccumulate, int Vecs, int... kRow>
MEGASEG_INLINE ProductTile tile_of(int rows, std::integer_sequence<int, kRow...>) {
  static constexpr ProductTile kTiles[] = {product_tile<T, kAccumulate, Vecs, kRow + 1>...};
  return kTiles[rows - 1];
}

// Any number of rows, in tiles as even as can be: a tile of one row would wait for its own sums.
template <typename T, bool kAccumulate, int Vecs>
void product_rows(const float* a, ptrdiff_t a_stride, const float* b, ptrdiff_t b_stride, int k, float* c,
                  ptrdiff_t c_stride, int rows) {
  constexpr int kMost = most_rows(Vecs);
  for (int tiles = (rows + kMost - 1) / kMost; tiles > 0; --tiles) {
    const int count = (rows + tiles - 1) / tiles;
    tile_of<T, kAccumulate, Vecs>(count, std::make_integer_sequence<int, kMost>())(a, a_stride, b, b_stride, k, c,
                                                                                   c_stride);
    rows -= count;
    a += count * a_stride;
    c += count * c_stride;
  }
}

template <typename T, bool kAccumulate>
MEGASEG_INLINE void product(const float* a, ptrdiff_t a_stride, const float* b, ptrdiff_t b_stride, int k, float* c,
                            ptrdiff_t c_stride, int rows, int vecs) {
  switch (vecs) {
    case 1: return product_rows<T, kAccumulate, 1>(a, a_stride, b, b_stride, k, c, c_stride, rows);
    case 2: return product_rows<T, kAccumulate, 2>(a, a_stride, b, b_stride, k, c, c_stride, rows);
#if defined(MEGASEG_AVX512)
    case 3: return product_rows<T, kAccumulate, 3>(a, a_stride, b, b_stride, k, c, c_stride, rows);
    default: return product_rows<T, kAccumulate, 4>(a, a_stride, b, b_stride, k, c, c_stride, rows);
#endif
  }
}

// Vectors that hold the columns from `begin` to the end of the panel or to `end`.
MEGASEG_INLINE int panel_vecs(int begin, int end) {
  const int left = end - begin;
  return left >= kScorePanel ? kScoreVecs : (left + kLanes - 1) / kLanes;
}

// Packed keys: [keys / kScorePanel, units of head_size, kScorePanel], then values: [units of keys, padded head_size].
template <typename T>
struct Packed {
  float* keys;
  float* values;
  int padded;  // head_size in whole vectors

  static std::size_t floats(int key_count, int head_size) {
    return static_cast<std::size_t>(round_up(key_count, kScorePanel)) *
           static_cast<std::size_t>(units<T>(head_size) + round_up(head_size, kLanes));
  }
  Packed(void* memory, int key_count, int head_size)
      : keys(static_cast<float*>(memory)),
        values(keys + static_cast<ptrdiff_t>(round_up(key_count, kScorePanel)) * units<T>(head_size)),
        padded(round_up(head_size, kLanes)) {}
};

// Units of elements i, i + 1, ... of a row, which at(i) gives as floats.
template <typename T, typename At>
MEGASEG_INLINE Vec units_of(const At& at, int unit) {
#if defined(MEGASEG_BF16)
  if constexpr (kUnit<T> == 2) {
    return reinterpret_cast<Vec>(_mm512_cvtne2ps_pbh(at(2 * unit + kLanes), at(2 * unit)));
  }
#endif
  return at(unit);
}

// Keys begin to end of `keys`: key(token, column) and value(token, column) give vectors of a token's head, zero past
// it. `begin` is a multiple of kScorePanel. Lanes and units past the last key become zeros: their scores are finite,
// their values harmless.
template <typename T, typename Key, typename Value>
MEGASEG_INLINE void pack(const Key& key, const Value& value, int begin, int end, int head_size,
                         const Packed<T>& packed) {
  const int depth = units<T>(head_size);
  for (int token = begin; token < end; token += kLanes) {
    float* panel =
        packed.keys + static_cast<ptrdiff_t>(token / kScorePanel) * kScorePanel * depth + token % kScorePanel;
    for (int unit = 0; unit < depth; unit += kLanes) {
      Vec block[kLanes];
      MEGASEG_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        block[i] = token + i < end ? units_of<T>([&](int column) { return key(token + i, column); }, unit) : Vec{};
      }
      transpose(block);
      MEGASEG_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        if (unit + i < depth) store(panel + static_cast<ptrdiff_t>(unit + i) * kScorePanel, block[i]);
      }
    }
  }
  for (int token = begin; token < end; token += kUnit<T>) {
    float* row = packed.values + static_cast<ptrdiff_t>(token / kUnit<T>) * packed.padded;
    for (int column = 0; column < packed.padded; column += kLanes) {
      Vec unit = value(token, column);
#if defined(MEGASEG_BF16)
      if constexpr (kUnit<T> == 2) unit = interleave(unit, token + 1 < end ? value(token + 1, column) : Vec{});
#endif
      store(row + column, unit);
    }
  }
}

// A block of queries on its way through the keys.
template <typename T>
struct QueryBlock {
  float* query;    // [kQueryBlock, padded head_size] of T
  float* scores;   // [kQueryBlock, kKeyBlock]
  float* weights;  // [kQueryBlock, kKeyBlock] of T
  float* out;      // [kQueryBlock, padded head_size]
  int padded;
  float scale;                 // log2(e) / sqrt(head_size)
  float maximum[kQueryBlock];  // of the scores, scaled
  Vec total[kQueryBlock];      // of the weights, lane by lane

  static std::size_t floats(int head_size) {
    return static_cast<std::size_t>(kQueryBlock) *
           static_cast<std::size_t>(2 * round_up(head_size, kLanes) + (kUnit<T> == 1 ? 1 : 2) * kKeyBlock);
  }
  QueryBlock(void* memory, int head_size, float softmax_scale)
      : query(static_cast<float*>(memory)),
        scores(query + static_cast<ptrdiff_t>(kQueryBlock) * round_up(head_size, kLanes)),
        weights(kUnit<T> == 1 ? scores : scores + kQueryBlock * kKeyBlock),
        out(weights + kQueryBlock * kKeyBlock),
        padded(round_up(head_size, kLanes)),
        scale(softmax_scale * kLog2E) {}

  MEGASEG_INLINE T* query_row(int r) const { return reinterpret_cast<T*>(query) + r * padded; }
};

// The running maximum takes in a block of scores; totals and `out` follow where it rises.
template <typename T>
MEGASEG_INLINE void raise_maximum(QueryBlock<T>& block, int rows, int keys, bool first) {
  for (int r = 0; r < rows; ++r) {
    float* row = block.scores + r * kKeyBlock;
    for (int i = keys; i < round_up(keys, kLanes * kUnit<T>); ++i) row[i] = -1e30F;  // padding keys take no part
    Vec top = load(row);
    for (int i = kLanes; i < keys; i += kLanes) top = max(top, load(row + i));
    const float highest = maximum(top) * block.scale;
    if (first) {
      block.maximum[r] = highest;
      block.total[r] = Vec{};
      continue;
    }
    if (highest <= block.maximum[r]) continue;
    const Vec rescale = exp2(splat(block.maximum[r] - highest));
    float* out = block.out + r * block.padded;
    for (int i = 0; i < block.padded; i += kLanes) store(out + i, load(out + i) * rescale);
    block.total[r] *= rescale;
    block.maximum[r] = highest;
  }
}

// Scores become weights 2^(scale * score - maximum). A loop of its own: no row waits for another's maximum.
template <typename T>
MEGASEG_INLINE void soften(QueryBlock<T>& block, int rows, int keys) {
  for (int r = 0; r < rows; ++r) {
    const float* row = block.scores + r * kKeyBlock;
    float* weights = block.weights + r * (kKeyBlock / kUnit<T>);
    Vec total = block.total[r];
    const Vec top = splat(block.maximum[r]);
    for (int i = 0; i < keys; i += kLanes * kUnit<T>) {
      if constexpr (kUnit<T> == 1) {
        const Vec weight = exp2(load(row + i) * block.scale - top);
        total += weight;
        store(weights + i, weight);
      }
#if defined(MEGASEG_BF16)
      if constexpr (kUnit<T> == 2) {
        const Vec low = exp2_coarse(load(row + i) * block.scale - top);
        const Vec high = exp2_coarse(load(row + i + kLanes) * block.scale - top);
        total += low + high;
        store(weights + i / 2, reinterpret_cast<Vec>(_mm512_cvtne2ps_pbh(high, low)));
      }
#endif
    }
    block.total[r] = total;
  }
}

// block.out = softmax(query keys^T) values, unnormalised, for the first `rows` queries of the block.
template <typename T>
[[gnu::noinline]] void attend(QueryBlock<T>& block, int rows, int keys, int head_size, const Packed<T>& packed) {
  const int depth = units<T>(head_size);
  const int stride = block.padded / kUnit<T>;
  for (int begin = 0; begin < keys; begin += kKeyBlock) {
    const int count = keys - begin < kKeyBlock ? keys - begin : kKeyBlock;
    for (int key = 0; key < count; key += kScorePanel) {
      product<T, false>(block.query, stride, packed.keys + static_cast<ptrdiff_t>(begin + key) * depth, kScorePanel,
                        depth, block.scores + key, kKeyBlock, rows, panel_vecs(key, count));
    }
    raise_maximum(block, rows, count, begin == 0);
    soften(block, rows, count);
    const float* values = packed.values + static_cast<ptrdiff_t>(begin / kUnit<T>) * packed.padded;
    const auto multiply = begin == 0 ? product<T, false> : product<T, true>;
    for (int column = 0; column < packed.padded; column += kScorePanel) {
      multiply(block.weights, kKeyBlock / kUnit<T>, values + column, packed.padded, units<T>(count), block.out + column,
               packed.padded, rows, panel_vecs(column, packed.padded));
    }
  }
}

// A head's slice of a row, by vectors, zeros past it.
template <typename T>
MEGASEG_INLINE Vec head_part(const T* row, int column, int head_size) {
  const int left = head_size - column;
  return left >= kLanes ? load(row + column) : left > 0 ? load_partial(row + column, left) : Vec{};
}

template <typename T>
MEGASEG_INLINE void write_head(const QueryBlock<T>& block, int r, int head_size, auto* out) {
  const float share = 1.0F / sum(block.total[r]);
  const float* row = block.out + r * block.padded;
  int i = 0;
  for (; i + kLanes <= head_size; i += kLanes) store(out + i, load(row + i) * share);
  if (i < head_size) store_partial(out + i, load(row + i) * share, head_size - i);
}

}  // namespace
