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
    const int first = block_.rows - left_;
    const auto* sums = sums_ + first * kColumns;
    float* const earlier = earlier_ + (kGrids ? first * kColumns : 0);
    left_ -= rows;
    if (last_) {
      const int row = block_.row + first;
      finish_(args_, {sums, grid_ > 0 ? earlier : nullptr, row, rows, block_.column, at(block_.out, first, 0)});
    } else if constexpr (kGrids) {
      collect(args_, sums, earlier, block_.row + first, rows, kColumns, grid_);
    }
  }
  // The sums of a grid, or of all of k; the last of the block or not.
  void take(const Tiles& tiles, const Sums& block, int grid, bool last) {
    some(left_);
    block_ = block, left_ = block.rows, grid_ = grid, last_ = last;
    constexpr ptrdiff_t kStride = kColumns * 4;
    tiles.template store<kC00>(sums_, kStride);
    tiles.template store<kC01>(sums_ + kColumns / 2, kStride);
    if (block.rows <= kTileHeight) return;
    tiles.template store<kC10>(sums_ + kTileHeight * kColumns, kStride);
    tiles.template store<kC11>(sums_ + kTileHeight * kColumns + kColumns / 2, kStride);
  }

 private:
  static constexpr bool kGrids = Product::kStep == 4;

  const LinearArgs& args_;
  Finish finish_;
  Sums block_{};
  int left_ = 0;  // rows
  int grid_ = 0;
  bool last_ = false;
  alignas(kLine) typename Product::Scalar sums_[kAmxRows * kColumns];
  alignas(kLine) float earlier_[kGrids ? kAmxRows * kColumns : kLanes];
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
  static constexpr int kRows = kAmxRows;
  static constexpr int kColumns = Packed<Product>::kColumns;
  static constexpr int kDepth = Packed<Product>::kDepth;
  static constexpr ptrdiff_t kPassing = 24 * 1024;  // bytes of a panel: half of the L1 cache

  // `once`: every part of the panels is read once, so that memory is the limit.
  TiledBlocks(const LinearArgs& args, Type out, bool once)
      : args_(args),
        once_(once),
        passing_(static_cast<ptrdiff_t>(args.k) * kColumns * static_cast<ptrdiff_t>(sizeof(Element)) >= kPassing),
        chain_(Product::kStep == 4 && args.k > kGridSize ? kGridSize : args.k),
        share_(kAmxRows / (chain_ / kDepth + 1) + 1),
        leaving_(args, out) {}
  TiledBlocks(const TiledBlocks&) = delete;
  TiledBlocks& operator=(const TiledBlocks&) = delete;

  // A panel for at most kRows rows; out begins at its first element.
  void block(int row, int rows, int column, const Rows& out) {
    const bool two = rows > kTileHeight;
    if (rows != configured_) tiles_.configure(two ? kTileHeight : rows, two ? rows - kTileHeight : 0);
    configured_ = rows;
    const Sums block{nullptr, nullptr, row, rows, column, out};
    for (int begin = 0; begin < args_.k; begin += chain_) {
      const int end = args_.k - begin < chain_ ? args_.k : begin + chain_;
      two ? multiply<true>(block, begin, end) : multiply<false>(block, begin, end);
      leaving_.take(tiles_, block, begin / chain_, end == args_.k);
    }
  }
  void flush() { leaving_.some(kAmxRows); }

 private:
  template <bool kTwo>
  void multiply(const Sums& block, int begin, int end) {
    const ptrdiff_t stride = args_.in.stride * static_cast<ptrdiff_t>(sizeof(Element));
    const Element* in = row_of<Element>(args_.in, block.row);
    const Element* weight = Packed<Product>(args_).panel(block.column) + static_cast<ptrdiff_t>(begin) * kColumns;
    tiles_.template zero<kC00>();
    tiles_.template zero<kC01>();
    if constexpr (kTwo) tiles_.zero<kC10>(), tiles_.zero<kC11>();
    int p = begin;
    for (; p + kDepth <= end; p += kDepth, weight += kDepth * kColumns) {
      if (once_) fetch(weight + 2 * kDepth * kColumns);
      step<Product, kTwo>(tiles_, in + p, stride, weight, passing_);
      leaving_.some(share_);
    }
    if (p == end) return;
    // The last step is filled up with zeros, not with what follows the rows.
    alignas(kLine) Element rest[kAmxRows * kDepth];
    const __mmask64 there = ~std::uint64_t{0} >> (kTileBytes - (end - p) * static_cast<int>(sizeof(Element)));
    for (int r = 0; r < block.rows; ++r) {
      _mm512_store_si512(rest + r * kDepth, _mm512_maskz_loadu_epi8(there, in + r * args_.in.stride + p));
    }
    step<Product, kTwo>(tiles_, rest, kTileBytes, weight, passing_);
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
  bool passing_;  // a panel is too large to stay in the L1 cache with rows and sums
  int chain_;     // elements of k that are summed in the tiles: a grid of int8, or all
  int share_;     // rows of the leaving block per step
  int configured_ = 0;
  Tiles tiles_;
  Leaving<Product> leaving_;
};

}  // namespace
