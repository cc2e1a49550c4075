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

  explicit Leaving(const LinearArgs& args) : args_(args), finish_(finish_of<Product>(args)) {}

  void some(int rows) {
    if (rows > left_) rows = left_;
    if (rows == 0) return;
    finish_(args_, sums_ + (rows_ - left_) * kColumns, row_ + rows_ - left_, rows, column_);
    left_ -= rows;
  }
  void take(const Tiles& tiles, int row, int rows, int column) {
    some(left_);
    row_ = row, rows_ = rows, left_ = rows, column_ = column;
    constexpr ptrdiff_t kStride = kColumns * 4;
    tiles.template store<kC00>(sums_, kStride);
    tiles.template store<kC01>(sums_ + kColumns / 2, kStride);
    if (rows <= kTileHeight) return;
    tiles.template store<kC10>(sums_ + kTileHeight * kColumns, kStride);
    tiles.template store<kC11>(sums_ + kTileHeight * kColumns + kColumns / 2, kStride);
  }

 private:
  const LinearArgs& args_;
  Finish finish_;
  int row_ = 0;
  int rows_ = 0;
  int left_ = 0;
  int column_ = 0;
  alignas(kLine) typename Product::Scalar sums_[kAmxRows * kColumns];
};

// C += A B over one step of k. Strides in bytes.
template <typename Product, bool kTwo>
MEGASEG_INLINE void step(Tiles& tiles, const void* a, ptrdiff_t a_stride, const void* b) {
  constexpr ptrdiff_t kStride = 2 * kTileBytes;
  tiles.template load<kA0>(a, a_stride);
  tiles.template load<kB0>(b, kStride);
  tiles.template dot<kC00, kA0, kB0>(Product{});
  tiles.template load<kB1>(static_cast<const char*>(b) + kTileBytes, kStride);
  tiles.template dot<kC01, kA0, kB1>(Product{});
  if constexpr (kTwo) {
    tiles.template load<kA1>(static_cast<const char*>(a) + kTileHeight * a_stride, a_stride);
    tiles.template dot<kC10, kA1, kB0>(Product{});
    tiles.template dot<kC11, kA1, kB1>(Product{});
  }
}

// Blocks one after the other on the same tiles.
template <typename Product>
class TiledProduct {
 public:
  using Element = typename Product::Element;
  static constexpr int kColumns = Packed<Product>::kColumns;
  static constexpr int kDepth = Packed<Product>::kDepth;

  // `once`: every part of the panels is read once, so that memory is the limit.
  TiledProduct(const LinearArgs& args, bool once)
      : args_(args), once_(once), share_(kAmxRows / (args.k / kDepth + 1) + 1), leaving_(args) {}
  ~TiledProduct() { leaving_.some(kAmxRows); }
  TiledProduct(const TiledProduct&) = delete;
  TiledProduct& operator=(const TiledProduct&) = delete;

  void block(int row, int rows, int column) {
    const bool two = rows > kTileHeight;
    if (rows != configured_) tiles_.configure(two ? kTileHeight : rows, two ? rows - kTileHeight : 0);
    configured_ = rows;
    two ? block<true>(row, rows, column) : block<false>(row, rows, column);
  }

 private:
  template <bool kTwo>
  void block(int row, int rows, int column) {
    const ptrdiff_t stride = args_.in.stride * static_cast<ptrdiff_t>(sizeof(Element));
    const Element* in = row_of<Element>(args_.in, row);
    const Element* weight = Packed<Product>(args_).panel(column);
    tiles_.template zero<kC00>();
    tiles_.template zero<kC01>();
    if constexpr (kTwo) tiles_.zero<kC10>(), tiles_.zero<kC11>();
    int p = 0;
    for (; p + kDepth <= args_.k; p += kDepth, weight += kDepth * kColumns) {
      if (once_) fetch(weight + 2 * kDepth * kColumns);
      step<Product, kTwo>(tiles_, in + p, stride, weight);
      leaving_.some(share_);
    }
    if (p < args_.k) {  // the last step is filled up with zeros, not with what follows the rows
      alignas(kLine) Element rest[kAmxRows * kDepth] = {};
      const auto bytes = static_cast<std::size_t>(args_.k - p) * sizeof(Element);
      for (int r = 0; r < rows; ++r) __builtin_memcpy(rest + r * kDepth, in + r * args_.in.stride + p, bytes);
      step<Product, kTwo>(tiles_, rest, kTileBytes, weight);
    }
    leaving_.take(tiles_, row, rows, column);
  }

  // What a step reads of a panel, into the L2 cache.
  static void fetch(const Element* weight) {
    for (int i = 0; i < kDepth; i += Product::kStep) {
      __builtin_prefetch(weight + i * kColumns, 0, 2);
      __builtin_prefetch(weight + i * kColumns + kColumns / 2 * Product::kStep, 0, 2);
    }
  }

  const LinearArgs& args_;
  bool once_;
  int share_;  // rows of the leaving block per step
  int configured_ = 0;
  Tiles tiles_;
  Leaving<Product> leaving_;
};

template <typename Product>
void run_tiled(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end) {
  TiledProduct<Product> product(args, row_end - row_begin <= kAmxRows);
  for (int panel = panel_begin; panel < panel_end; ++panel) {
    for (int row = row_begin; row < row_end; row += kAmxRows) {
      const int rows = row_end - row < kAmxRows ? row_end - row : kAmxRows;
      product.block(row, rows, panel * Packed<Product>::kColumns);
    }
  }
}

}  // namespace
