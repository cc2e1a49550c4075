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

// sums (+)= in[0:Rows, 0:k] B for one panel.
template <typename Product, int Rows>
void tile(const typename Product::Element* in, ptrdiff_t in_stride, const typename Product::Element* panel, int k,
          bool first, typename Product::Scalar* sums) {
  using Element = typename Product::Element;
  constexpr int kStep = Product::kStep;
  typename Product::Sum acc[Rows][kTileVecs] = {};
  const int tail = k % kStep;
  multiply<Product>(in, in_stride, panel, kPanel * kStep, k - tail, acc);
  if (tail) {  // the rest of the last word is zeros, not what follows the row
    Element rest[Rows][kStep] = {};
    for (int i = 0; i < Rows; ++i) __builtin_memcpy(rest[i], in + i * in_stride + k - tail, tail * sizeof(Element));
    multiply<Product>(rest[0], kStep, panel + static_cast<ptrdiff_t>(k - tail) * kPanel, kPanel * kStep, kStep, acc);
  }
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MEGASEG_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      typename Product::Scalar* sum = sums + i * kPanel + j * kLanes;
      store(sum, first ? acc[i][j] : load(sum) + acc[i][j]);
    }
  }
}

template <typename Product>
MEGASEG_INLINE void tile(int rows, const typename Product::Element* in, ptrdiff_t in_stride,
                         const typename Product::Element* panel, int k, bool first, typename Product::Scalar* sums) {
  switch (rows) {
    case 1: return tile<Product, 1>(in, in_stride, panel, k, first, sums);
    case 2: return tile<Product, 2>(in, in_stride, panel, k, first, sums);
    case 3: return tile<Product, 3>(in, in_stride, panel, k, first, sums);
    case 4: return tile<Product, 4>(in, in_stride, panel, k, first, sums);
    case 5: return tile<Product, 5>(in, in_stride, panel, k, first, sums);
    default: return tile<Product, 6>(in, in_stride, panel, k, first, sums);
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
      tile<Product>(count, row_of<Element>(args.in, row_begin + from) + begin, args.in.stride,
                    panel + static_cast<ptrdiff_t>(begin) * kPanel, left < kBlock ? left : kBlock, begin == 0,
                    sums + from * kPanel);
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
