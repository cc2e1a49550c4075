// What the products of linear share: the layout of a packed weight, and what happens to a sum on its way out.
#pragma once

#include <type_traits>

#include "cpu/ops.h"
#include "cpu/tile.h"

namespace {

using megaseg::cpu::Activation;
using megaseg::cpu::Grid;
using megaseg::cpu::grids_of;
using megaseg::cpu::kGridSize;
using megaseg::cpu::LinearArgs;
using megaseg::cpu::Rows;
using megaseg::cpu::Type;

constexpr ptrdiff_t kLine = 64;  // bytes: parts of a packed weight begin at cache lines

#if defined(MEGASEG_AMX)
constexpr bool kAmx = true;
#else
constexpr bool kAmx = false;
#endif

// f(Float32{}), f(BFloat16Pairs{}) or f(Int8{}). A target is never asked for a type that its table lacks.
template <typename F>
MEGASEG_INLINE auto with_product([[maybe_unused]] Type type, F f) {
#if defined(MEGASEG_BF16)
  if (type == Type::bfloat16) return f(BFloat16Pairs{});
#endif
#if defined(MEGASEG_INT8)
  if (type == Type::int8) return f(Int8{});
#endif
  return f(Float32{});
}

constexpr ptrdiff_t whole_lines(ptrdiff_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

constexpr int kFewColumns = 4;  // at most, of a weight whose panel would be padding for the most part

// A packed weight: panels [n / kColumns, k / kStep, kColumns, kStep] with n and k padded by zeros, then bias [n], and
// for int8 scale [n] and offset [grids of k, n], scale * the sum of the column's elements within the grid: what a
// grid's `low` is multiplied by. Of few columns in float32, W [n, k] as it is.
template <typename Product>
struct Packed {
  using Element = typename Product::Element;
  static constexpr bool kTiled = kAmx && Product::kStep > 1;
  static constexpr int kColumns = kTiled ? 32 : kPanel;
  static constexpr int kDepth = kTiled ? 16 * Product::kStep : Product::kStep;

  Packed(void* data, int n_, int k_)
      : base(static_cast<char*>(data)),
        few(Product::kStep == 1 && n_ <= kFewColumns),
        n(few ? n_ : round_up(n_, kColumns)),
        k(few ? k_ : round_up(k_, kDepth)),
        grids(Product::kStep == 4 ? grids_of(k_) : 0) {}
  Packed(const LinearArgs& args) : Packed(const_cast<void*>(args.weight), args.n, args.k) {}  // NOLINT: a view converts

  ptrdiff_t panels_size() const { return whole_lines(static_cast<ptrdiff_t>(n) * k * sizeof(Element)); }
  ptrdiff_t column_size() const { return whole_lines(static_cast<ptrdiff_t>(n) * 4); }
  ptrdiff_t size() const { return panels_size() + (grids > 0 ? 2 + grids : 1) * column_size(); }

  Element* panel(int column) const { return reinterpret_cast<Element*>(base) + static_cast<ptrdiff_t>(column) * k; }
  float* bias() const { return reinterpret_cast<float*>(base + panels_size()); }
  float* scale() const { return reinterpret_cast<float*>(base + panels_size() + column_size()); }
  float* offset(int grid) const { return reinterpret_cast<float*>(base + panels_size() + (2 + grid) * column_size()); }

  char* base;
  bool few;
  int n;
  int k;
  int grids;  // of a row of int8
};

// GELU with an absolute error below 1.5e-5: a hundredth of what rounding to bfloat16 or int8 costs.
MEGASEG_INLINE Vec gelu_coarse(Vec x) {
  constexpr float kEnd = 4.5F;
  const Vec t = min(max(x, -x), splat(kEnd));
  const Vec s = t * (2.0F / kEnd) - 1.0F;
  const Vec q =
      polynomial(s, {1.222098339e-02F, -7.134827971e-02F, 1.809415966e-01F, -2.463959008e-01F, 1.562293917e-01F,
                     3.712335974e-02F, -1.283592880e-01F, 4.980415851e-02F, 2.883973345e-02F, -1.905553788e-02F});
  return max(Vec{}, x) - t * q;  // in this order NaN stays
}

// The same with an absolute error below 2.1e-4, a sixteenth of a step of int8 from -0.17 to 0.7.
MEGASEG_INLINE Vec gelu_of_int8(Vec x) {
  const Vec t = min(max(x, -x), splat(4.0F));
  const Vec q = polynomial(t, {5.004940853e-01F, -3.908292189e-01F, -4.279237458e-02F, 1.399596386e-01F,
                               -5.756255585e-02F, 9.920983806e-03F, -6.428239680e-04F});
  return max(Vec{}, x) - t * q;  // in this order NaN stays
}

// Any but GELU; a NaN stays one. Not inlined: its registers would cost the common loop some.
[[gnu::noinline]] Vec activate(Vec x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x < 0.0F ? Vec{} : x;
    case Activation::tanh: return tanh(x);
    default: return x;
  }
}

// A tile's sums, complete: rows [row, row + rows) and up to a panel's columns.
struct Sums {
  const void* data;      // [rows, kColumns], of int8 those of the last grid alone
  const float* earlier;  // [rows, kColumns] of int8: the grids before it, times their steps; or null
  int row;
  int rows;
  int column;
  Rows out;  // from the tile's first element on
};

// earlier (+)= sums of a grid * its step.
inline void collect(const LinearArgs& args, const std::int32_t* sums, float* earlier, int row, int rows, int columns,
                    int grid) {
  for (int i = 0; i < rows; ++i) {
    const float step = grids_at(args.in, row + i)[grid].step;
    for (int j = 0; j < columns; j += kLanes) {
      float* to = earlier + i * columns + j;
      const Vec part = __builtin_convertvector(load(sums + i * columns + j), Vec) * step;
      store(to, grid == 0 ? part : load(to) + part);
    }
  }
}

// Sums on their way out, a vector of columns after the other.
template <typename Product, typename Residual, typename Out>
void finish_as(const LinearArgs& args, const Sums& sums) {
  constexpr int kColumns = Packed<Product>::kColumns;
  constexpr bool kExact = std::is_same_v<Product, Float32> && std::is_same_v<Out, float>;
  const Packed<Product> packed(args);
  const int columns = args.n - sums.column < kColumns ? args.n - sums.column : kColumns;
  const auto finish = [&](auto act) {
    for (int j = 0; j < columns; j += kLanes) {
      const int width = columns - j < kLanes ? columns - j : kLanes;
      const int at = sums.column + j;
      const Vec bias = load(packed.bias() + at);
      for (int i = 0; i < sums.rows; ++i) {
        Vec value = bias;
        const auto* sum = static_cast<const typename Product::Scalar*>(sums.data) + i * kColumns + j;
        if constexpr (Product::kStep == 4) {
          const Grid* grid = grids_at(args.in, sums.row + i);
          const int last = packed.grids - 1;
          for (int g = 0; g <= last; ++g) value += grid[g].low * load(packed.offset(g) + at);
          Vec total = __builtin_convertvector(load(sum), Vec) * grid[last].step;
          if (sums.earlier) total += load(sums.earlier + i * kColumns + j);
          value += total * load(packed.scale() + at);
        } else {
          value += load(sum);
        }
        if (args.residual.data) {
          const Residual* residual = row_of<Residual>(args.residual, sums.row + i) + at;
          value += width == kLanes ? load(residual) : load_partial(residual, width);
        }
        value = act(value);
        Out* out = row_of<Out>(sums.out, i) + j;
        width == kLanes ? store(out, value) : store_partial(out, value, width);
      }
    }
  };
  if (args.activation == Activation::none) return finish([](Vec x) { return x; });
  if (args.activation != Activation::gelu) return finish([&](Vec x) { return activate(x, args.activation); });
  if (args.out.type == Type::int8) return finish([](Vec x) { return gelu_of_int8(x); });
  finish([](Vec x) { return kExact ? gelu(x) : gelu_coarse(x); });
}

using Finish = void (*)(const LinearArgs& args, const Sums& sums);

template <typename Product>
Finish finish_of(const LinearArgs& args, Type out) {
  Finish finish = nullptr;
  with_type(args.residual.type, [&]<typename Residual>(Residual) {
    with_type(out, [&]<typename Out>(Out) { finish = finish_as<Product, Residual, Out>; });
  });
  return finish;
}

}  // namespace
