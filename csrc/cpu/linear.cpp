// out = activation(in W^T + bias + residual) over packed weight panels.
#include "cpu/ops.h"
#include "cpu/tile.h"

namespace {

using megaseg::cpu::Activation;
using megaseg::cpu::LinearArgs;

// Products summed in one chain, whose sums are then added: short chains round less (as much as torch's at 256).
constexpr int kChain = 256;
// Rows of k taken together, so that a panel's block (192 KiB with AVX-512) stays in the L2 cache; sums wait in `out`.
constexpr int kBlock = 3 * kChain;

struct Block {
  int begin;
  int size;
  bool first;
  bool last;
};

// Floats of vector j of a panel that lie within the matrix.
MEGASEG_INLINE int width_of(const LinearArgs& args, int column) {
  const int left = args.n - column;
  return left < 0 ? 0 : left < kLanes ? left : kLanes;
}

template <int Rows>
MEGASEG_INLINE void add(const Vec (&acc)[Rows][kTileVecs], Vec (&total)[Rows][kTileVecs]) {
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MEGASEG_UNROLL
    for (int j = 0; j < kTileVecs; ++j) total[i][j] += acc[i][j];
  }
}

// out = acc + bias + residual after the first block of k, out += acc after the others.
template <int Rows>
MEGASEG_INLINE void finish(const LinearArgs& args, int row, int column, bool first, const Vec (&acc)[Rows][kTileVecs]) {
  const float* from = first ? args.residual : args.out;
  const ptrdiff_t stride = first ? args.residual_stride : args.out_stride;
  MEGASEG_UNROLL
  for (int j = 0; j < kTileVecs; ++j) {
    const int at = column + j * kLanes;
    const int width = width_of(args, at);
    const Vec bias = first ? load(args.bias + at) : Vec{};
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      if (width == 0) continue;
      Vec value = acc[i][j] + bias;
      if (from) {
        const float* p = from + (row + i) * stride + at;
        value += width == kLanes ? load(p) : load_partial(p, width);
      }
      float* p = args.out + (row + i) * args.out_stride + at;
      width == kLanes ? store(p, value) : store_partial(p, value, width);
    }
  }
}

// In place, while the rows are in the L1 cache.
MEGASEG_INLINE void activate(const LinearArgs& args, int row, int rows, int column) {
  for (int i = 0; i < rows; ++i) {
    float* out = args.out + (row + i) * args.out_stride;
    for (int at = column; at < column + kPanel && at < args.n; at += kLanes) {
      const int width = width_of(args, at);
      if (width == kLanes) {
        store(out + at, gelu(load(out + at)));
      } else {
        store_partial(out + at, gelu(load_partial(out + at, width)), width);
      }
    }
  }
}

template <int Rows>
void tile(const LinearArgs& args, int row, int column, const Block& block) {
  const float* in = args.in + row * args.in_stride + block.begin;
  const float* weight =
      args.weight + static_cast<ptrdiff_t>(column) * args.k + static_cast<ptrdiff_t>(block.begin) * kPanel;
  Vec total[Rows][kTileVecs] = {};
  for (int begin = 0; begin < block.size; begin += kChain) {
    const int count = block.size - begin < kChain ? block.size - begin : kChain;
    Vec acc[Rows][kTileVecs] = {};
    multiply<Rows, kTileVecs>(in + begin, args.in_stride, weight + begin * kPanel, kPanel, count, acc);
    add(acc, total);
  }
  finish<Rows>(args, row, column, block.first, total);
  if (block.last && args.activation == Activation::gelu) activate(args, row, Rows, column);
}

void rows_of(const LinearArgs& args, int row, int end, int column, const Block& block) {
  for (; row + kTileRows <= end; row += kTileRows) tile<kTileRows>(args, row, column, block);
  switch (end - row) {
    case 1: return tile<1>(args, row, column, block);
    case 2: return tile<2>(args, row, column, block);
    case 3: return tile<3>(args, row, column, block);
    case 4: return tile<4>(args, row, column, block);
    case 5: return tile<5>(args, row, column, block);
    default: return;
  }
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

void linear(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end) {
  for (int panel = panel_begin; panel < panel_end; ++panel) {
    for (int begin = 0; begin < args.k; begin += kBlock) {
      const int size = args.k - begin < kBlock ? args.k - begin : kBlock;
      const Block block{begin, size, begin == 0, begin + size == args.k};
      rows_of(args, row_begin, row_end, panel * kPanel, block);
    }
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
