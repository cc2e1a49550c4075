// What the products of linear share: the layout of a packed weight, and what happens to a sum on its way out.
#pragma once

#include <type_traits>

#include "cpu/ops.h"
#include "cpu/quantise.h"
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

#if !defined(MEGASEG_INT8)
struct Range {};
#endif

// A tile's sums over all of k, or over a grid of int8: rows [row, row + rows) and up to a panel's columns.
struct Sums {
  const void* data;  // [rows, kColumns]
  float* before;     // [rows, kColumns]: what the grids before have made of the bias; null: nothing
  int grid;          // of int8
  int row;
  int rows;
  int column;
  Rows out;       // from the tile's first element on
  Range* ranges;  // of out, row by row, to be widened; or null
};

// What sums become before anything else is done to them, a row of a panel at a time.
template <typename Product>
class Values {
 public:
  static constexpr int kColumns = Packed<Product>::kColumns;
  static constexpr int kVecs = kColumns / kLanes;

  Values() = default;
  MEGASEG_INLINE Values(const LinearArgs& args, const Sums& sums)
      : sums_(static_cast<const typename Product::Scalar*>(sums.data)) {
    const Packed<Product> packed(args);
    before_ = sums.before ? sums.before : packed.bias() + sums.column;
    stride_ = sums.before ? kColumns : 0;
    if constexpr (kGrids) {
      grids_ = grids_at(args.in, sums.row) + sums.grid;
      row_grids_ = grids_of(args.in.stride);
      for (int j = 0; j < kVecs; ++j) {
        scale_[j] = load(packed.scale() + sums.column + j * kLanes);
        offset_[j] = load(packed.offset(sums.grid) + sums.column + j * kLanes);
      }
    }
  }
  MEGASEG_INLINE void row(int i, Vec (&value)[kVecs]) const {
    const auto* sum = sums_ + i * kColumns;
    const float* before = before_ + i * stride_;
    MEGASEG_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      if constexpr (kGrids) {
        const auto [low, step] = grids_[i * row_grids_];
        const Vec whole = __builtin_convertvector(load(sum + j * kLanes), Vec);
        value[j] = load(before + j * kLanes) + low * offset_[j] + whole * step * scale_[j];
      } else {
        value[j] = load(before + j * kLanes) + load(sum + j * kLanes);
      }
    }
  }

 private:
  static constexpr bool kGrids = Product::kStep == 4;

  const typename Product::Scalar* sums_ = nullptr;
  const float* before_ = nullptr;
  ptrdiff_t stride_ = 0;
  const Grid* grids_ = nullptr;
  ptrdiff_t row_grids_ = 0;
  Vec scale_[kVecs];
  Vec offset_[kVecs];
};

// Rows [begin, end) of a grid that is not the last, to `before` of the next.
template <typename Product>
void collect(const Values<Product>& values, int begin, int end, float* to) {
  to += begin * Values<Product>::kColumns;
  for (int i = begin; i < end; ++i, to += Values<Product>::kColumns) {
    Vec value[Values<Product>::kVecs];
    values.row(i, value);
    MEGASEG_UNROLL
    for (int j = 0; j < Values<Product>::kVecs; ++j) store(to + j * kLanes, value[j]);
  }
}

struct None {};

// Rows of a panel on their way out. Strides in elements.
template <typename Residual, typename Out>
struct Ends {
  const Residual* residual;
  ptrdiff_t residual_stride;
  Out* out;
  ptrdiff_t out_stride;
  Range* ranges;  // or null
};

template <typename Product, typename Residual, typename Out, typename Act>
MEGASEG_INLINE void finish_rows(const Values<Product>& values, const Ends<Residual, Out>& ends, int begin, int end,
                                Act act) {
  for (int i = begin; i < end; ++i) {
    Vec value[Values<Product>::kVecs];
    values.row(i, value);
    MEGASEG_UNROLL
    for (int j = 0; j < Values<Product>::kVecs; ++j) {
      if constexpr (!std::is_same_v<Residual, None>) {
        value[j] += load(ends.residual + (i - begin) * ends.residual_stride + j * kLanes);
      }
      value[j] = act(value[j]);
      store(ends.out + (i - begin) * ends.out_stride + j * kLanes, value[j]);
    }
#if defined(MEGASEG_INT8)
    if (ends.ranges) {
      Range range = ends.ranges[i - begin];
      MEGASEG_UNROLL
      for (int j = 0; j < Values<Product>::kVecs; ++j) range.widen(value[j]);
      ends.ranges[i - begin] = range;
    }
#endif
  }
}

// Rows [begin, end) of a tile.
template <typename Product, typename Residual, typename Out>
void finish_as(const LinearArgs& args, const Values<Product>& values, const Sums& sums, int begin, int end) {
  constexpr int kColumns = Packed<Product>::kColumns;
  constexpr bool kExact = std::is_same_v<Product, Float32> && std::is_same_v<Out, float>;
  const auto finish = [&](const Ends<Residual, Out>& ends, int from, int to) {
    const auto rows = [&](auto act) { finish_rows(values, ends, from, to, act); };
    if (args.activation == Activation::none) return rows([](Vec x) { return x; });
    if (args.activation != Activation::gelu) return rows([&](Vec x) { return activate(x, args.activation); });
    if (args.out.type == Type::int8) return rows([](Vec x) { return gelu_of_int8(x); });
    rows([](Vec x) { return kExact ? gelu(x) : gelu_coarse(x); });
  };
  const int columns = args.n - sums.column;
  const auto residual = [&](int i) -> const Residual* {
    if constexpr (std::is_same_v<Residual, None>) {
      return nullptr;
    } else {
      return row_of<Residual>(args.residual, sums.row + i) + sums.column;
    }
  };
  if (columns >= kColumns) {
    return finish({residual(begin), args.residual.stride, row_of<Out>(sums.out, begin), sums.out.stride,
                   sums.ranges ? sums.ranges + begin : nullptr},
                  begin, end);
  }
  for (int i = begin; i < end; ++i) {  // the last panel's rows, filled up
    alignas(kLine) Residual added[kColumns] = {};
    alignas(kLine) Out out[kColumns];
    if constexpr (!std::is_same_v<Residual, None>) {
      __builtin_memcpy(added, residual(i), static_cast<std::size_t>(columns) * sizeof(Residual));
    }
    finish({added, 0, out, 0, nullptr}, i, i + 1);
    __builtin_memcpy(row_of<Out>(sums.out, i), out, static_cast<std::size_t>(columns) * sizeof(Out));
#if defined(MEGASEG_INT8)
    for (int j = 0; sums.ranges && j < columns; j += kLanes) {
      sums.ranges[i].widen(load(out + j), columns - j < kLanes ? columns - j : kLanes);
    }
#endif
  }
}

template <typename Product>
using Finish = void (*)(const LinearArgs& args, const Values<Product>& values, const Sums& sums, int begin, int end);

template <typename Product>
Finish<Product> finish_of(const LinearArgs& args, Type out) {
  Finish<Product> finish = nullptr;
  with_type(out, [&]<typename Out>(Out) {
    if (!args.residual.data) {
      finish = finish_as<Product, None, Out>;
    } else {
      with_type(args.residual.type, [&]<typename Residual>(Residual) { finish = finish_as<Product, Residual, Out>; });
    }
  });
  return finish;
}

}  // namespace
