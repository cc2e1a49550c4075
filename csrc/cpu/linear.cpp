// out = activation(in W^T + bias + residual) over packed weight panels.
#include "cpu/linear.h"

#include "cpu/linear_few.h"

#if defined(MEGASEG_AMX)
#include "cpu/linear_amx.h"
#endif

namespace {

// Elements of a row of `in` taken together, 512 bytes: their part of a panel (32 KiB with AVX-512) stays in the L1
// cache while rows pass by. Also the longest chain of additions; short chains round less. Of int8 they are half a grid.
template <typename Product>
constexpr int kBlock = Product::kStep == 4 ? kGridSize / 2 : 512 / static_cast<int>(sizeof(typename Product::Element));
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
  if (step.ahead) {
    multiply<Product>(step.in, step.in_stride, step.panel, kPanel * kStep, whole, acc, step.ahead);
  } else {
    multiply<Product>(step.in, step.in_stride, step.panel, kPanel * kStep, whole, acc);
  }
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

template <typename Product, int Rows = kTileRows>
MEGASEG_INLINE void tile_of(int rows, const Step<Product>& step) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return tile_of<Product, Rows - 1>(rows, step);
  }
  tile<Product, Rows>(step);
}

// Blocks of rows and panels, one after the other.
template <typename Product>
class Blocks {
 public:
  Blocks(const LinearArgs& args, Type out) : args_(args), finish_(finish_of<Product>(args, out)) {}

  static int rows() { return kRowBlock; }
  // Columns [begin, end) of at most so many rows; out begins at its first element, ranges at its first row.
  void columns(int row, int rows, int begin, int end, const Rows& out, Range* ranges) {
    for (int column = begin; column < end; column += kPanel) {
      panel(row, rows, column, at(out, 0, column - begin), ranges);
    }
  }
  void flush() {}

 private:
  using Element = typename Product::Element;
  static constexpr ptrdiff_t kBytes = sizeof(Element);

  void panel(int row, int rows, int column, const Rows& out, Range* ranges) {
    const int tiles = (rows + kTileRows - 1) / kTileRows;  // of equal height, give or take one
    for (int begin = 0; begin < args_.k; begin += kBlock<Product>) {
      for (int t = 0; t < tiles; ++t) {
        const int from = rows * t / tiles;
        // The first tiles fetch a column of lines each of the next block, to the L2 cache: L1 is full of this one.
        multiply_tile(row, from, rows * (t + 1) / tiles - from, column, begin,
                      t < kTileVecs ? kBlock<Product> * kPanel * kBytes + t * kLine : 0, out, ranges);
      }
    }
  }

  // Rows [row + from, row + from + count) and a panel, over the block of k from `begin` on.
  void multiply_tile(int row, int from, int count, int column, int begin, ptrdiff_t ahead, const Rows& out,
                     Range* ranges) {
    constexpr bool kGrids = Product::kStep == 4;
    const Element* panel = Packed<Product>(args_).panel(column) + static_cast<ptrdiff_t>(begin) * kPanel;
    const int grid = kGrids ? begin / kGridSize : 0;
    const int left = args_.k - begin;
    const int k = left < kBlock<Product> ? left : kBlock<Product>;
    auto* const sums = sums_ + from * kPanel;
    tile_of<Product>(count, {row_of<Element>(args_.in, row + from) + begin, args_.in.stride, panel, k,
                             begin == grid * kGridSize, sums, ahead});
    float* const before = before_ + (kGrids ? from * kPanel : 0);
    const Sums done{sums,
                    grid > 0 ? before : nullptr,
                    grid,
                    row + from,
                    count,
                    column,
                    at(out, from, 0),
                    ranges ? ranges + from : nullptr};
    if (k == left) {
      finish_(args_, Values<Product>(args_, done), done, 0, count);
    } else if constexpr (kGrids) {
      if ((begin + k) % kGridSize == 0) collect<Product>(Values<Product>(args_, done), 0, count, before);
    }
  }

  const LinearArgs& args_;
  Finish<Product> finish_;
  alignas(kLine) typename Product::Scalar sums_[kRowBlock * kPanel];
  alignas(kLine) float before_[Product::kStep == 4 ? kRowBlock * kPanel : kLanes];
};

template <typename Product>
auto blocks_of(const LinearArgs& args, Type out, [[maybe_unused]] int first) {
#if defined(MEGASEG_AMX)
  if constexpr (Packed<Product>::kTiled)
    return TiledBlocks<Product>(args, out, first);
  else  // NOLINT: only one is instantiated
#endif
    return Blocks<Product>(args, out);
}

#if defined(MEGASEG_INT8)
#if defined(MEGASEG_BF16)
using Held = BFloat16;
constexpr Type kHeld = Type::bfloat16;
#else
using Held = float;
constexpr Type kHeld = Type::float32;
#endif
constexpr int kHeldRows = 48;  // at most

// A grid of columns of some rows at a time is held until its range is known.
template <typename Product>
void run_to_grids(const LinearArgs& args, int row_begin, int row_end, int column_begin, int column_end) {
  auto blocks = blocks_of<Product>(args, kHeld, row_begin);
  const int most = blocks.rows() < kHeldRows ? blocks.rows() : kHeldRows;
  alignas(kLine) Held held[kHeldRows * kGridSize];
  for (int begin = column_begin; begin < column_end; begin += kGridSize) {
    const int end = column_end - begin < kGridSize ? column_end : begin + kGridSize;
    for (int row = row_begin; row < row_end; row += most) {
      const int rows = row_end - row < most ? row_end - row : most;
      Range ranges[kHeldRows];
      blocks.columns(row, rows, begin, end, {held, kGridSize, kHeld}, ranges);
      blocks.flush();
      for (int i = 0; i < rows; ++i) {
        const auto to = ToGrid::of<Held>(ranges[i]);
        to.store_row(held + i * kGridSize, row_of<std::uint8_t>(args.out, row + i) + begin, end - begin);
        grids_at(args.out, row + i)[begin / kGridSize] = to.grid();
      }
    }
  }
}
#endif

template <typename Product>
void run(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end) {
  constexpr int kColumns = Packed<Product>::kColumns;
#if defined(MEGASEG_INT8)
  if (args.out.type == Type::int8) {
    const int end = panel_end * kColumns < args.n ? panel_end * kColumns : args.n;
    return run_to_grids<Product>(args, row_begin, row_end, panel_begin * kColumns, end);
  }
#endif
  auto blocks = blocks_of<Product>(args, args.out.type, row_begin);
  const int most = blocks.rows();
  const int end = panel_end * kColumns < args.n ? panel_end * kColumns : args.n;
  for (int row = row_begin; row < row_end; row += most) {
    const int rows = row_end - row < most ? row_end - row : most;
    for (int column = panel_begin * kColumns; column < end; column += kGridSize) {
      blocks.columns(row, rows, column, end - column < kGridSize ? end : column + kGridSize, at(args.out, row, column),
                     nullptr);
    }
  }
  blocks.flush();
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

int linear_panel(Type type) {
  if (type == Type::int16) return kPanel;
  return with_product(type, []<typename Product>(Product) { return Packed<Product>::kColumns; });
}

void linear(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end) {
  if (args.in.type == Type::int16) return linear_weights(args, row_begin, row_end, panel_begin, panel_end);
  with_product(args.in.type, [&]<typename Product>(Product) {
    if constexpr (std::is_same_v<Product, Float32>) {
      if (Packed<Product>(args).few) return run_few(args, row_begin, row_end);
    }
    run<Product>(args, row_begin, row_end, panel_begin, panel_end);
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
