// out = activation(in W^T + bias + residual) over packed weight panels.
#include "cpu/linear.h"

#if defined(MEGASEG_AMX)
#include "cpu/linear_amx.h"
#endif

namespace {

// Bytes of a row of `in` taken together: their part of a panel (32 KiB with AVX-512) stays in the L1 cache while rows
// pass by. Also the longest chain of additions; short chains round less.
constexpr int kBlockBytes = 512;
// Rows that pass by such a part before the next one comes.
constexpr int kRowBlock = 16 * kTileRows;

// sums (+)= in[0:rows, 0:k] B, a tile's share of a block of k.
template <typename Product>
struct Step {
  const typename Product::Element* in;
  ptrdiff_t in_stride;
  const typename Product::Element* panel;
  int k;
  bool first;
  typename Product::Scalar* sums;  // [rows, kPanel]
  ptrdiff_t ahead;                 // bytes to what this tile fetches of the next block, 0: nothing
};

template <typename Product, int Rows>
void tile(const Step<Product>& step) {
  using Element = typename Product::Element;
  constexpr int kStep = Product::kStep;
  typename Product::Sum acc[Rows][kTileVecs] = {};
  const int tail = step.k % kStep;
  const int whole = step.k - tail;
  multiply<Product>(step.in, step.in_stride, step.panel, kPanel * kStep, whole, acc, step.ahead);
  if (tail) {  // the rest of the last word is zeros, not what follows the row
    Element rest[Rows][kStep] = {};
    for (int i = 0; i < Rows; ++i) {
      __builtin_memcpy(rest[i], step.in + i * step.in_stride + whole, static_cast<std::size_t>(tail) * sizeof(Element));
    }
    multiply<Product>(rest[0], kStep, step.panel + static_cast<ptrdiff_t>(whole) * kPanel, kPanel * kStep, kStep, acc);
  }
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MEGASEG_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      typename Product::Scalar* sum = step.sums + i * kPanel + j * kLanes;
      store(sum, step.first ? acc[i][j] : Product::add(load(sum), acc[i][j]));
    }
  }
}

template <typename Product>
MEGASEG_INLINE void tile(int rows, const Step<Product>& step) {
  switch (rows) {
    case 1: return tile<Product, 1>(step);
    case 2: return tile<Product, 2>(step);
    case 3: return tile<Product, 3>(step);
    case 4: return tile<Product, 4>(step);
    case 5: return tile<Product, 5>(step);
    default: return tile<Product, 6>(step);
  }
}

// One panel for at most kRowBlock rows.
template <typename Product>
void block(const LinearArgs& args, Finish finish, int row_begin, int row_end, int column) {
  using Element = typename Product::Element;
  constexpr int kBlock = kBlockBytes / sizeof(Element);
  alignas(kLine) typename Product::Scalar sums[kRowBlock * kPanel];
  const Element* panel = Packed<Product>(args).panel(column);
  const int rows = row_end - row_begin;
  const int tiles = (rows + kTileRows - 1) / kTileRows;  // of equal height, give or take one
  for (int begin = 0; begin < args.k; begin += kBlock) {
    const int left = args.k - begin;
    for (int t = 0; t < tiles; ++t) {
      const int from = rows * t / tiles;
      const int count = rows * (t + 1) / tiles - from;
      // With few rows memory is the limit: every tile fetches a column of lines of the next block.
      const ptrdiff_t ahead = t < kTileVecs ? kBlockBytes * kPanel + t * kLine : 0;
      tile<Product>(count, {row_of<Element>(args.in, row_begin + from) + begin, args.in.stride,
                            panel + static_cast<ptrdiff_t>(begin) * kPanel, left < kBlock ? left : kBlock, begin == 0,
                            sums + from * kPanel, ahead});
      if (left <= kBlock) finish(args, sums + from * kPanel, row_begin + from, count, column);
    }
  }
}

template <typename Product>
void run(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end) {
  const Finish finish = finish_of<Product>(args);
  for (int panel = panel_begin; panel < panel_end; ++panel) {
    for (int row = row_begin; row < row_end; row += kRowBlock) {
      block<Product>(args, finish, row, row + kRowBlock < row_end ? row + kRowBlock : row_end, panel * kPanel);
    }
  }
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

int linear_panel(Type type) {
  return with_product(type, []<typename Product>(Product) { return Packed<Product>::kColumns; });
}

void linear(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end) {
  with_product(args.in.type, [&]<typename Product>(Product) {
#if defined(MEGASEG_AMX)
    if constexpr (Packed<Product>::kTiled) return run_tiled<Product>(args, row_begin, row_end, panel_begin, panel_end);
#endif
    return run<Product>(args, row_begin, row_end, panel_begin, panel_end);
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
