// Softmax attention of one head, shared by the ops that differ in where queries, keys and values come from. Keys are
// taken in blocks with a running maximum, so that scores never exceed one block of queries by one block of keys.
#pragma once

#include "cpu/ops.h"
#include "cpu/tile.h"
#if defined(MEGASEG_AMX)
#include "cpu/amx.h"
#endif

namespace {

constexpr int kKeyBlock = 128;
constexpr float kLog2E = 1.44269504F;
constexpr float kNever = -1e30F;  // score of a key that takes no part

// C[rows, vecs * kLanes] = [C +] A[rows, k] B[k, vecs * kLanes], vecs <= kTileVecs, k a multiple of kDepth, strides as
// in multiply().
template <typename Product>
class Products {
 public:
  using T = typename Product::Element;
  using Scalar = typename Product::Scalar;
  static constexpr int kDepth = Product::kStep;
  static constexpr int kQueryBlock = 24;  // rows that share a block of keys while it is in the L1 cache

  MEGASEG_INLINE void run(const T* a, ptrdiff_t a_stride, const T* b, ptrdiff_t b_stride, int k, Scalar* c,
                          ptrdiff_t c_stride, bool accumulates, int rows, int vecs) const {
    switch (vecs) {
      case 1: return rows_of<1>(a, a_stride, b, b_stride, k, c, c_stride, accumulates, rows);
      case 2: return rows_of<2>(a, a_stride, b, b_stride, k, c, c_stride, accumulates, rows);
#if defined(MEGASEG_AVX512)
      case 3: return rows_of<3>(a, a_stride, b, b_stride, k, c, c_stride, accumulates, rows);
      default: return rows_of<4>(a, a_stride, b, b_stride, k, c, c_stride, accumulates, rows);
#endif
    }
  }

 private:
  using Tile = void (*)(const T*, ptrdiff_t, const T*, ptrdiff_t, int, Scalar*, ptrdiff_t, bool);

  // Narrow tiles are higher: as many accumulators as registers allow.
  static constexpr int most_rows(int vecs) { return vecs == 1 ? 12 : kTileRows * kTileVecs / vecs; }

  template <int Vecs, int Rows>
  static void tile(const T* a, ptrdiff_t a_stride, const T* b, ptrdiff_t b_stride, int k, Scalar* c, ptrdiff_t c_stride,
                   bool accumulates) {
    typename Product::Sum acc[Rows][Vecs] = {};
    if (accumulates) {
      MEGASEG_UNROLL
      for (int i = 0; i < Rows; ++i) {
        MEGASEG_UNROLL
        for (int j = 0; j < Vecs; ++j) acc[i][j] = load(c + i * c_stride + j * kLanes);
      }
    }
    multiply<Product, Rows, Vecs>(a, a_stride, b, b_stride, k, acc);
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      MEGASEG_UNROLL
      for (int j = 0; j < Vecs; ++j) store(c + i * c_stride + j * kLanes, acc[i][j]);
    }
  }

  template <int Vecs, int... kRow>
  MEGASEG_INLINE static Tile tile_of(int rows, std::integer_sequence<int, kRow...>) {
    static constexpr Tile kTiles[] = {tile<Vecs, kRow + 1>...};
    return kTiles[rows - 1];
  }

  // Any number of rows, in tiles as even as can be: a tile of one row would wait for its own sums.
  template <int Vecs>
  static void rows_of(const T* a, ptrdiff_t a_stride, const T* b, ptrdiff_t b_stride, int k, Scalar* c,
                      ptrdiff_t c_stride, bool accumulates, int rows) {
    constexpr int kMost = most_rows(Vecs);
    for (int tiles = (rows + kMost - 1) / kMost; tiles > 0; --tiles) {
      const int count = (rows + tiles - 1) / tiles;
      const Tile one = tile_of<Vecs>(count, std::make_integer_sequence<int, kMost>());
      one(a, a_stride, b, b_stride, k, c, c_stride, accumulates);
      rows -= count;
      a += count * a_stride;
      c += count * c_stride;
    }
  }
};

#if defined(MEGASEG_AMX)
// Whole tiles: rows past the last one are computed and never read.
template <typename Product>
  requires(Product::kStep > 1)
class Products<Product> {
 public:
  using T = typename Product::Element;
  using Scalar = typename Product::Scalar;
  static constexpr int kDepth = kTileBytes / 4 * Product::kStep;
  static constexpr int kQueryBlock = 2 * kTileHeight;

  Products() { tiles_.configure(kTileHeight, kTileHeight); }

  void run(const T* a, ptrdiff_t a_stride, const T* b, ptrdiff_t b_stride, int k, Scalar* c, ptrdiff_t c_stride,
           bool accumulates, int rows, int vecs) {
    const bool lower = rows > kTileHeight;
    for (int j = 0; j < vecs; j += 2) {
      const bool right = vecs - j > 1;
      each(c + j * kLanes, c_stride, lower, right, accumulates ? Move::load : Move::zero);
      for (int p = 0; p < k; p += kDepth) {
        const T* word = b + p / Product::kStep * b_stride + j * kWords;
        tiles_.load<kA0>(a + p, kSize * a_stride);
        tiles_.load<kB0>(word, kSize * b_stride);
        tiles_.dot<kC00, kA0, kB0>(Product{});
        if (right) tiles_.load<kB1>(word + kWords, kSize * b_stride);
        if (right) tiles_.dot<kC01, kA0, kB1>(Product{});
        if (!lower) continue;
        tiles_.load<kA1>(a + kTileHeight * a_stride + p, kSize * a_stride);
        tiles_.dot<kC10, kA1, kB0>(Product{});
        if (right) tiles_.dot<kC11, kA1, kB1>(Product{});
      }
      each(c + j * kLanes, c_stride, lower, right, Move::store);
    }
  }

 private:
  static constexpr ptrdiff_t kSize = sizeof(T);
  static constexpr int kWords = kTileBytes / kSize;  // elements of a tile's row

  enum class Move { zero, load, store };

  // The tiles of C that are in use.
  void each(Scalar* c, ptrdiff_t stride, bool lower, bool right, Move move) {
    one<kC00>(c, stride, move);
    if (right) one<kC01>(c + kLanes, stride, move);
    if (lower) one<kC10>(c + kTileHeight * stride, stride, move);
    if (lower && right) one<kC11>(c + kTileHeight * stride + kLanes, stride, move);
  }
  template <Tile kTile>
  MEGASEG_INLINE void one(Scalar* c, ptrdiff_t stride, Move move) {
    if (move == Move::zero) return tiles_.zero<kTile>();
    if (move == Move::load) return tiles_.load<kTile>(c, 4 * stride);
    tiles_.store<kTile>(c, 4 * stride);
  }

  Tiles tiles_;
};
#endif

// f(Float32{}) or f(BFloat16Pairs{}), by the storage of queries, keys and values.
template <typename F>
MEGASEG_INLINE void with_product([[maybe_unused]] megaseg::cpu::Type type, F f) {
#if defined(MEGASEG_BF16)
  if (type == megaseg::cpu::Type::bfloat16) return f(BFloat16Pairs{});
#endif
  f(Float32{});
}

// Sizes of one head in whole products and vectors.
template <typename Product>
struct Head {
  static constexpr int kDepth = Products<Product>::kDepth;

  int size;
  int depth;   // elements that a score sums over
  int padded;  // of a row of queries, values or sums

  explicit Head(int head_size)
      : size(head_size),
        depth(round_up(head_size, kDepth)),
        padded(round_up(head_size, kDepth > kLanes ? kDepth : kLanes)) {}
};

// Keys in panels: [keys / kPanel, depth / kStep, kPanel, kStep], then values: [keys / kStep, padded, kStep].
template <typename Product>
struct Panels {
  using T = typename Product::Element;
  T* keys;
  T* values;
  Head<Product> head;

  static std::size_t bytes(int key_count, int head_size) {
    const Head<Product> head(head_size);
    return sizeof(T) * static_cast<std::size_t>(round_up(key_count, kPanel)) *
           static_cast<std::size_t>(head.depth + head.padded);
  }
  Panels(void* memory, int key_count, int head_size)
      : keys(static_cast<T*>(memory)),
        values(keys + static_cast<ptrdiff_t>(round_up(key_count, kPanel)) * round_up(head_size, Head<Product>::kDepth)),
        head(head_size) {}
};

// Words of a row, which at(i) gives as a vector of floats i, i + 1, ...
template <typename Product, typename At>
MEGASEG_INLINE Vec words_of(const At& at, int i) {
#if defined(MEGASEG_BF16)
  if constexpr (Product::kStep == 2) return narrow(at(i), at(i + kLanes));
#endif
  return at(i);
}

MEGASEG_INLINE void store_words(void* to, Vec words) { __builtin_memcpy(to, &words, sizeof words); }

// Keys begin to end: key(token) and value(token) are rows, row(i) a vector of the head's elements from i, zeros past
// it. `begin` is a multiple of kPanel. What lies past the last key becomes zeros: scores are finite, values harmless.
template <typename Product, typename Key, typename Value>
MEGASEG_INLINE void fill_panels(const Key& key, const Value& value, int begin, int end, const Panels<Product>& panels) {
  constexpr int kStep = Product::kStep;
  const Head<Product> head = panels.head;
  for (int token = begin; token < end; token += kLanes) {
    auto* panel = panels.keys + static_cast<ptrdiff_t>(token / kPanel) * kPanel * head.depth + token % kPanel * kStep;
    const int count = end - token < kLanes ? end - token : kLanes;
    decltype(key(token)) rows[kLanes];
    for (int t = 0; t < count; ++t) rows[t] = key(token + t);
    for (int i = 0; i < head.depth; i += kLanes * kStep) {
      Vec block[kLanes];
      MEGASEG_UNROLL
      for (int t = 0; t < kLanes; ++t) block[t] = t < count ? words_of<Product>(rows[t], i) : Vec{};
      transpose(block);
      MEGASEG_UNROLL
      for (int t = 0; t < kLanes; ++t) {
        if (i + t * kStep < head.depth) store_words(panel + static_cast<ptrdiff_t>(i + t * kStep) * kPanel, block[t]);
      }
    }
  }
  for (int token = begin; token < round_up(end, head.kDepth); token += kStep) {
    auto* to = panels.values + static_cast<ptrdiff_t>(token) * head.padded;
    const auto row = value(token < end ? token : end - 1);
    [[maybe_unused]] const auto next = value(token + 1 < end ? token + 1 : end - 1);
    for (int i = 0; i < head.padded; i += kLanes) {
      Vec words = token < end ? row(i) : Vec{};
#if defined(MEGASEG_BF16)
      if constexpr (kStep == 2) words = interleave(words, token + 1 < end ? next(i) : Vec{});
#endif
      store_words(to + i * kStep, words);
    }
  }
}

// A block of queries on its way through the keys.
template <typename Product>
struct QueryBlock {
  using T = typename Product::Element;
  static constexpr int kRows = Products<Product>::kQueryBlock;

  Head<Product> head;
  T* query;              // [kRows, padded]
  T* weights;            // [kRows, kKeyBlock]
  float* scores;         // [kRows, kKeyBlock]; weights take their place where T is float
  float* out;            // [kRows, padded]
  float scale;           // log2(e) / sqrt(head_size)
  float maximum[kRows];  // of the scores, scaled
  Vec total[kRows];      // of the weights, lane by lane

  static std::size_t bytes(int head_size) {
    return kRows *
           (static_cast<std::size_t>(Head<Product>(head_size).padded) * (sizeof(T) + 4) + kKeyBlock * (sizeof(T) + 4));
  }
  QueryBlock(void* memory, int head_size, float softmax_scale) : head(head_size), scale(softmax_scale * kLog2E) {
    scores = static_cast<float*>(memory);
    out = scores + kRows * kKeyBlock;
    query = reinterpret_cast<T*>(out + static_cast<ptrdiff_t>(kRows) * head.padded);
    weights = sizeof(T) == 4 ? reinterpret_cast<T*>(scores) : query + static_cast<ptrdiff_t>(kRows) * head.padded;
  }
};

// The running maximum takes in a block of scores; totals and `out` follow where it rises.
template <typename Product>
MEGASEG_INLINE void raise_maximum(QueryBlock<Product>& block, int rows, int keys, bool first) {
  for (int r = 0; r < rows; ++r) {
    const float* row = block.scores + r * kKeyBlock;
    Vec top = splat(kNever);
    int i = 0;
    for (; i + kLanes <= keys; i += kLanes) top = max(top, load(row + i));
    if (i < keys) top = max(top, first_lanes_of(load(row + i), keys - i, splat(kNever)));
    const float highest = maximum(top) * block.scale;
    if (first) {
      block.maximum[r] = highest;
      block.total[r] = Vec{};
      continue;
    }
    if (highest <= block.maximum[r]) continue;
    const Vec rescale = exp2(splat(block.maximum[r] - highest));
    float* out = block.out + r * block.head.padded;
    for (int j = 0; j < block.head.padded; j += kLanes) store(out + j, load(out + j) * rescale);
    block.total[r] *= rescale;
    block.maximum[r] = highest;
  }
}

// weights[i, ...] = 2^exponents(i), a vector of words; returns their sums.
template <typename Product, typename Exponents>
MEGASEG_INLINE Vec soften_words(const Exponents& exponents, typename Product::Element* weights, int i) {
#if defined(MEGASEG_BF16)
  if constexpr (Product::kStep == 2) {
    const Vec low = exp2_coarse(exponents(i));
    const Vec high = exp2_coarse(exponents(i + kLanes));
    store_words(weights + i, narrow(low, high));
    return low + high;
  }
#endif
  const Vec weight = exp2(exponents(i));
  store_words(weights + i, weight);
  return weight;
}

// Scores become weights 2^(scale * score - maximum), 0 past the last key. A loop of its own: no row waits for another's
// maximum.
template <typename Product>
MEGASEG_INLINE void soften(QueryBlock<Product>& block, int rows, int keys) {
  const int whole = keys / (kLanes * Product::kStep) * (kLanes * Product::kStep);
  for (int r = 0; r < rows; ++r) {
    const float* row = block.scores + r * kKeyBlock;
    auto* weights = block.weights + r * kKeyBlock;
    const Vec top = splat(block.maximum[r]);
    const auto exponents = [&](int i) { return load(row + i) * block.scale - top; };
    Vec total = block.total[r];
    for (int i = 0; i < whole; i += kLanes * Product::kStep) total += soften_words<Product>(exponents, weights, i);
    if (whole < keys) {
      const auto some = [&](int i) {
        return i < keys ? first_lanes_of(exponents(i), keys - i, splat(kNever)) : splat(kNever);
      };
      total += soften_words<Product>(some, weights, whole);
    }
    block.total[r] = total;
  }
}

// Vectors that hold the columns from `begin` to the end of the panel or to `end`.
MEGASEG_INLINE int panel_vecs(int begin, int end) {
  const int left = end - begin;
  return left >= kPanel ? kTileVecs : (left + kLanes - 1) / kLanes;
}

// block.out = softmax(query keys^T) values, unnormalised, for the first `rows` queries of the block.
template <typename Product>
[[gnu::noinline]] void attend(Products<Product>& products, QueryBlock<Product>& block, int rows, int keys,
                              const Panels<Product>& panels) {
  const Head<Product> head = panels.head;
  for (int begin = 0; begin < keys; begin += kKeyBlock) {
    const int count = keys - begin < kKeyBlock ? keys - begin : kKeyBlock;
    for (int key = 0; key < count; key += kPanel) {
      const auto* panel = panels.keys + static_cast<ptrdiff_t>(begin + key) * head.depth;
      products.run(block.query, head.padded, panel, kPanel * Product::kStep, head.depth, block.scores + key, kKeyBlock,
                   false, rows, panel_vecs(key, count));
    }
    raise_maximum(block, rows, count, begin == 0);
    soften(block, rows, count);
    const auto* values = panels.values + static_cast<ptrdiff_t>(begin) * head.padded;
    for (int i = 0; i < head.padded; i += kPanel) {
      products.run(block.weights, kKeyBlock, values + i * Product::kStep, head.padded * Product::kStep,
                   round_up(count, head.kDepth), block.out + i, head.padded, begin > 0, rows,
                   panel_vecs(i, head.padded));
    }
  }
}

// A head's slice of a row, by vectors.
template <typename T>
struct HeadRow {
  const T* data;
  int size;

  MEGASEG_INLINE Vec operator()(int i) const {
    const int left = size - i;
    return left >= kLanes ? load(data + i) : left > 0 ? load_partial(data + i, left) : Vec{};
  }
};

// Attention of `queries` rows in blocks: query(r) is a row as in fill_panels(), out(r) is where its result goes.
template <typename Product, typename Query, typename Out>
MEGASEG_INLINE void attend_all(const Query& query, const Out& out, int queries, int keys, float scale,
                               const Panels<Product>& panels, void* scratch) {
  const Head<Product> head = panels.head;
  Products<Product> products;
  QueryBlock<Product> block(scratch, head.size, scale);
  for (int begin = 0; begin < queries; begin += block.kRows) {
    const int rows = queries - begin < block.kRows ? queries - begin : block.kRows;
    for (int r = 0; r < rows; ++r) {
      const auto row = query(begin + r);
      for (int i = 0; i < head.padded; i += kLanes) store(block.query + r * head.padded + i, row(i));
    }
    attend(products, block, rows, keys, panels);
    for (int r = 0; r < rows; ++r) {
      auto* to = out(begin + r);
      const float share = 1.0F / sum(block.total[r]);
      const float* row = block.out + r * head.padded;
      int i = 0;
      for (; i + kLanes <= head.size; i += kLanes) store(to + i, load(row + i) * share);
      if (i < head.size) store_partial(to + i, load(row + i) * share, head.size - i);
    }
  }
}

}  // namespace
