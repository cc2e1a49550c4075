// What the products of linear share: the layout of a packed weight, and what happens to a sum on its way out.
#pragma once

#include <type_traits>

#include "cpu/ops.h"
#include "cpu/tile.h"

namespace {

using megaseg::cpu::Activation;
using megaseg::cpu::LinearArgs;
using megaseg::cpu::Type;

constexpr ptrdiff_t kLine = 64;  // bytes: parts of a packed weight begin at cache lines
constexpr int kZeroPoint = 128;  // of int8 rows: value = scale * (element - 128)

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
#if defined(MEGASEG_VNNI)
  if (type == Type::int8) return f(Int8{});
#endif
  return f(Float32{});
}

constexpr ptrdiff_t whole_lines(ptrdiff_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

// A packed weight: panels [n / kColumns, k / kStep, kColumns, kStep] with n and k padded by zeros, then bias [n], and
// for int8 scale [n] and offset [n], -128 * the sum of the column.
template <typename Product>
struct Packed {
  using Element = typename Product::Element;
  static constexpr bool kTiled = kAmx && Product::kStep > 1;
  static constexpr int kColumns = kTiled ? 32 : kPanel;
  static constexpr int kDepth = kTiled ? 16 * Product::kStep : Product::kStep;

  Packed(void* data, int n_, int k_)
      : base(static_cast<char*>(data)), n(round_up(n_, kColumns)), k(round_up(k_, kDepth)) {}
  Packed(const LinearArgs& args) : Packed(const_cast<void*>(args.weight), args.n, args.k) {}  // NOLINT: a view converts

  ptrdiff_t panels_size() const { return whole_lines(static_cast<ptrdiff_t>(n) * k * sizeof(Element)); }
  ptrdiff_t column_size() const { return whole_lines(static_cast<ptrdiff_t>(n) * 4); }
  ptrdiff_t size() const { return panels_size() + (Product::kStep == 4 ? 3 : 1) * column_size(); }

  Element* panel(int column) const { return reinterpret_cast<Element*>(base) + static_cast<ptrdiff_t>(column) * k; }
  float* bias() const { return reinterpret_cast<float*>(base + panels_size()); }
  float* scale() const { return reinterpret_cast<float*>(base + panels_size() + column_size()); }
  std::int32_t* offset() const { return reinterpret_cast<std::int32_t*>(base + panels_size() + 2 * column_size()); }

  char* base;
  int n;
  int k;
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

// Any but GELU; a NaN stays one. Not inlined: its registers would cost the common loop some.
[[gnu::noinline]] Vec activate(Vec x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x < 0.0F ? Vec{} : x;
    case Activation::tanh: return tanh(x);
    default: return x;
  }
}

MEGASEG_INLINE IntVec load(const std::int32_t* p) {
  IntVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
MEGASEG_INLINE void store(std::int32_t* p, IntVec v) { __builtin_memcpy(p, &v, sizeof v); }

// Sums of a tile on their way out: rows [row, row + rows) and a panel's columns; sums [rows, kColumns].
template <typename Product, typename Residual, typename Out>
void finish_as(const LinearArgs& args, const void* sums, int row, int rows, int column) {
  constexpr int kColumns = Packed<Product>::kColumns;
  constexpr bool kExact = std::is_same_v<Product, Float32> && std::is_same_v<Out, float>;
  const Packed<Product> packed(args);
  const int columns = args.n - column < kColumns ? args.n - column : kColumns;
  for (int i = 0; i < rows; ++i) {
    const auto* sum = static_cast<const typename Product::Scalar*>(sums) + i * kColumns;
    const Residual* residual = args.residual.data ? row_of<Residual>(args.residual, row + i) + column : nullptr;
    Out* out = row_of<Out>(args.out, row + i) + column;
    for (int j = 0; j < columns; j += kLanes) {
      const int width = columns - j < kLanes ? columns - j : kLanes;
      const int at = column + j;
      Vec value;
      if constexpr (Product::kStep == 4) {
        const IntVec exact = Product::add(load(sum + j), load(packed.offset() + at));
        value = __builtin_convertvector(exact, Vec) * args.in.scale[row + i] * load(packed.scale() + at) +
                load(packed.bias() + at);
      } else {
        value = load(sum + j) + load(packed.bias() + at);
      }
      if (residual) value += width == kLanes ? load(residual + j) : load_partial(residual + j, width);
      if (args.activation == Activation::gelu) {
        value = kExact ? gelu(value) : gelu_coarse(value);
      } else if (args.activation != Activation::none) {
        value = activate(value, args.activation);
      }
      width == kLanes ? store(out + j, value) : store_partial(out + j, value, width);
    }
  }
}

using Finish = void (*)(const LinearArgs&, const void* sums, int row, int rows, int column);

template <typename Product>
Finish finish_of(const LinearArgs& args) {
  Finish finish = nullptr;
  with_type(args.residual.type, [&]<typename Residual>(Residual) {
    with_type(args.out.type, [&]<typename Out>(Out) { finish = finish_as<Product, Residual, Out>; });
  });
  return finish;
}

}  // namespace
