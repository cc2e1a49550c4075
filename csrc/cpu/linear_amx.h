// Products of linear on tile registers: blocks of 32 x 32 sums, k whole.
#pragma once

#include "cpu/amx.h"
#include "cpu/linear.h"

namespace {

constexpr int kAmxRows = 2 * kTileHeight;

// A block's sums after it has left the tiles. Its rows are finished a few at a time while the tiles work on the next
// block: the tile unit and the vector units run side by side.
template <typename Product>
class Leaving {
 public:
  static constexpr int kColumns = Packed<Product>::kColumns;

  Leaving(const LinearArgs& args, Type out) : args_(args), finish_(finish_of<Product>(args, out)) {}

  void some(int rows) {
    if (rows > left_) rows = left_;
    if (rows == 0) return;
    const int begin = block_.rows - left_;
    left_ -= rows;
    if (last_) {
      finish_(args_, values_, block_, begin, begin + rows);
    } else if constexpr (kGrids) {
      collect<Product>(values_, begin, begin + rows, carried_);
    }
  }
  // The sums of a grid, or of all of k; the last of the block, or carried on there.
  void take(const Tiles& tiles, const Sums& block, bool last, float* carried) {
    flush();
    block_ = block, left_ = block.rows, last_ = last;
    block_.data = sums_;
    block_.before = kGrids && block.grid > 0 ? carried : nullptr;
    carried_ = carried;
    values_ = Values<Product>(args_, block_);
    constexpr ptrdiff_t kStride = kColumns * 4;
    tiles.template store<kC00>(sums_, kStride);
    tiles.template store<kC01>(sums_ + kColumns / 2, kStride);
    if (block.rows <= kTileHeight) return;
    tiles.template store<kC10>(sums_ + kTileHeight * kColumns, kStride);
    tiles.template store<kC11>(sums_ + kTileHeight * kColumns + kColumns / 2, kStride);
  }
  void flush() { some(left_); }

 private:
  static constexpr bool kGrids = Product::kStep == 4;

  const LinearArgs& args_;
  Finish<Product> finish_;
  Sums block_{};
  Values<Product> values_;
  int left_ = 0;  // rows
  bool last_ = false;
  alignas(kLine) typename Product::Scalar sums_[kAmxRows * kColumns];
  float* carried_ = nullptr;
};

// A tile of a panel; `passing`: it is not read again while it would be in the L1 cache.
template <Tile kTile>
MEGASEG_INLINE void load_weight(Tiles& tiles, const void* from, bool passing) {
  constexpr ptrdiff_t kStride = 2 * kTileBytes;
  passing ? tiles.load_passing<kTile>(from, kStride) : tiles.load<kTile>(from, kStride);
}

// C += A B over one step of k. Strides in bytes.
template <typename Product, bool kTwo>
MEGASEG_INLINE void step(Tiles& tiles, const void* a, ptrdiff_t a_stride, const void* b, bool passing) {
  tiles.template load<kA0>(a, a_stride);
  load_weight<kB0>(tiles, b, passing);
  tiles.template dot<kC00, kA0, kB0>(Product{});
  load_weight<kB1>(tiles, static_cast<const char*>(b) + kTileBytes, passing);
  tiles.template dot<kC01, kA0, kB1>(Product{});
  if constexpr (kTwo) {
    tiles.template load<kA1>(static_cast<const char*>(a) + kTileHeight * a_stride, a_stride);
    tiles.template dot<kC10, kA1, kB0>(Product{});
    tiles.template dot<kC11, kA1, kB1>(Product{});
  }
}

// Blocks one after the other on the same tiles.
template <typename Product>
class TiledBlocks {
 public:
  using Element = typename Product::Element;
  static constexpr int kColumns = Packed<Product>::kColumns;
  static constexpr int kDepth = Packed<Product>::kDepth;
  static constexpr int kPassing = 12 * kDepth;  // of k: 24 KiB of a panel, half of the L1 cache

  // Rows from `first` on: panels are read from memory for these, then are in the L2 cache.
  TiledBlocks(const LinearArgs& args, Type out, int first) : args_(args), first_(first), leaving_(args, out) {}
  TiledBlocks(const TiledBlocks&) = delete;
  TiledBlocks& operator=(const TiledBlocks&) = delete;

  static int rows() { return kAmxRows; }
  // Columns [begin, end), at most a grid, of at most so many rows; out begins at its first element, ranges at its first
  // row. Of int8 a grid of k at a time, so that the rows' part of it stays in the L1 cache while panels pass by.
  void columns(int row, int rows, int begin, int end, const Rows& out, Range* ranges) {
    const int length = kGrids && args_.k > kGridSize ? kGridSize : args_.k;
    if (rows != configured_) {
      tiles_.configure(rows < kTileHeight ? rows : kTileHeight, rows > kTileHeight ? rows - kTileHeight : 0);
    }
    configured_ = rows;
    for (int from = 0; from < args_.k; from += length) {
      const int to = args_.k - from < length ? args_.k : from + length;
      float* carried = carried_;
      for (int column = begin; column < end; column += kColumns, carried += kAmxRows * kColumns) {
        const Sums block{nullptr, nullptr, from / length, row, rows, column, at(out, 0, column - begin), ranges};
        rows > kTileHeight ? multiply<true>(block, from, to) : multiply<false>(block, from, to);
        leaving_.take(tiles_, block, to == args_.k, carried);
      }
    }
  }
  void flush() { leaving_.flush(); }

 private:
  static constexpr bool kGrids = Product::kStep == 4;

  template <bool kTwo>
  void multiply(const Sums& block, int begin, int end) {
    const ptrdiff_t stride = args_.in.stride * static_cast<ptrdiff_t>(sizeof(Element));
    const Element* in = row_of<Element>(args_.in, block.row);
    const Element* weight = Packed<Product>(args_).panel(block.column) + static_cast<ptrdiff_t>(begin) * kColumns;
    const int share = kAmxRows / ((end - begin) / kDepth + 1) + 1;  // rows of the leaving block per step
    const bool passing = end - begin >= kPassing;
    tiles_.template zero<kC00>();
    tiles_.template zero<kC01>();
    if constexpr (kTwo) tiles_.zero<kC10>(), tiles_.zero<kC11>();
    int p = begin;
    for (; p + kDepth <= end; p += kDepth, weight += kDepth * kColumns) {
      if (block.row == first_) fetch(weight + 2 * kDepth * kColumns);
      step<Product, kTwo>(tiles_, in + p, stride, weight, passing);
      leaving_.some(share);
    }
    if (p == end) return;
    // The last step is filled up with zeros, not with what follows the rows.
    alignas(kLine) Element rest[kAmxRows * kDepth];
    const __mmask64 there = ~std::uint64_t{0} >> (kTileBytes - (end - p) * static_cast<int>(sizeof(Element)));
    for (int r = 0; r < block.rows; ++r) {
      _mm512_store_si512(rest + r * kDepth, _mm512_maskz_loadu_epi8(there, in + r * args_.in.stride + p));
    }
    step<Product, kTwo>(tiles_, rest, kTileBytes, weight, passing);
  }

  // What a step reads of a panel, into the L2 cache.
  static void fetch(const Element* weight) {
    for (int i = 0; i < kDepth; i += Product::kStep) {
      __builtin_prefetch(weight + i * kColumns, 0, 2);
      __builtin_prefetch(weight + i * kColumns + kColumns / 2 * Product::kStep, 0, 2);
    }
  }

  const LinearArgs& args_;
  int first_;
  int configured_ = 0;
  Tiles tiles_;
  Leaving<Product> leaving_;
  alignas(kLine) float carried_[kGrids ? kAmxRows * kGridSize : kLanes];
};

}  // namespace
