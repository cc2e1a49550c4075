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

template <typename Product, bool kTwo>
void tiled_block(Tiles& tiles, const LinearArgs& args, int row, int rows, int column, Leaving<Product>& leaving) {
  using Element = typename Product::Element;
  constexpr int kDepth = Packed<Product>::kDepth;
  const ptrdiff_t stride = args.in.stride * static_cast<ptrdiff_t>(sizeof(Element));
  const Element* in = row_of<Element>(args.in, row);
  const Element* weight = Packed<Product>(args).panel(column);
  const int share = kAmxRows / (args.k / kDepth + 1) + 1;  // rows of the leaving block per step
  tiles.zero<kC00>();
  tiles.zero<kC01>();
  if constexpr (kTwo) tiles.zero<kC10>(), tiles.zero<kC11>();
  int p = 0;
  for (; p + kDepth <= args.k; p += kDepth, weight += kDepth * Packed<Product>::kColumns) {
    step<Product, kTwo>(tiles, in + p, stride, weight);
    leaving.some(share);
  }
  if (p < args.k) {  // the last step is filled up with zeros, not with what follows the rows
    alignas(kLine) Element rest[kAmxRows * kDepth] = {};
    const auto bytes = static_cast<std::size_t>(args.k - p) * sizeof(Element);
    for (int r = 0; r < rows; ++r) __builtin_memcpy(rest + r * kDepth, in + r * args.in.stride + p, bytes);
    step<Product, kTwo>(tiles, rest, kTileBytes, weight);
  }
  leaving.take(tiles, row, rows, column);
}

template <typename Product>
void run_tiled(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end) {
  Tiles tiles;
  Leaving<Product> leaving(args);
  int configured = 0;
  for (int panel = panel_begin; panel < panel_end; ++panel) {
    for (int row = row_begin; row < row_end; row += kAmxRows) {
      const int rows = row_end - row < kAmxRows ? row_end - row : kAmxRows;
      const bool two = rows > kTileHeight;
      if (rows != configured) tiles.configure(two ? kTileHeight : rows, two ? rows - kTileHeight : 0);
      configured = rows;
      (two ? tiled_block<Product, true> : tiled_block<Product, false>)(tiles, args, row, rows,
                                                                       panel * Packed<Product>::kColumns, leaving);
    }
  }
  leaving.some(kAmxRows);
}

}  // namespace
