// Weights into the order that csrc/cpu/linear.h describes.
#include "cpu/bytes.h"
#include "cpu/linear.h"

namespace {

// W[row, 0:k] becomes column `row` of its panel; convert(floats, elements) does a vector.
template <typename Product, typename Convert>
MEGASEG_INLINE void pack_row(const Packed<Product>& packed, const float* weight, int row, int k, Convert convert) {
  using Element = typename Product::Element;
  constexpr int kStep = Product::kStep;
  constexpr ptrdiff_t kStride = Packed<Product>::kColumns * kStep;
  Element* to = packed.panel(row / Packed<Product>::kColumns * Packed<Product>::kColumns) +
                row % Packed<Product>::kColumns * kStep;
  for (int i = 0; i < k; i += kLanes) {
    const int count = k - i < kLanes ? k - i : kLanes;
    Element elements[kLanes];
    convert(load_partial(weight + i, count), elements);
    for (int j = 0; j < count; j += kStep, to += kStride) __builtin_memcpy(to, elements + j, kStep * sizeof(Element));
  }
}

void pack_row(const Packed<Float32>& packed, const float* weight, int row, int k) {
  pack_row(packed, weight, row, k, [](Vec x, float* to) { store(to, x); });
}

// Rows [row, row + kLanes), whole vectors of k at a time: a column's lines are written whole.
void pack_rows(const Packed<Float32>& packed, const float* weight, int row, int k) {
  float* to = packed.panel(row / kPanel * kPanel) + row % kPanel;
  for (int i = 0; i < k; i += kLanes) {
    const int count = k - i < kLanes ? k - i : kLanes;
    Vec m[kLanes];
    for (int r = 0; r < kLanes; ++r) m[r] = load_partial(weight + static_cast<ptrdiff_t>(row + r) * k + i, count);
    transpose(m);
    for (int j = 0; j < count; ++j, to += kPanel) store(to, m[j]);
  }
}

#if defined(MEGASEG_BF16)
void pack_row(const Packed<BFloat16Pairs>& packed, const float* weight, int row, int k) {
  pack_row(packed, weight, row, k, [](Vec x, BFloat16* to) { store(to, x); });
}
#endif

#if defined(MEGASEG_INT8)
constexpr float kTooSmall = 1e-36F;  // to divide by

// Symmetric: 127 steps to the largest magnitude of the row. NaN or infinity makes the scale NaN.
void pack_row(const Packed<Int8>& packed, const float* weight, int row, int k) {
  Vec top{};
  Vec poison{};
  for (int i = 0; i < k; i += kLanes) {
    const Vec x = load_partial(weight + i, k - i < kLanes ? k - i : kLanes);
    top = max(max(x, -x), top);
    poison += x * 0.0F;
  }
  const float largest = maximum(top);
  const float steps = largest < kTooSmall ? 0 : 127 / largest;
  const float scale = (largest < kTooSmall ? 0 : largest / 127) + sum(poison);
  IntVec total{};
  int done = 0;
  pack_row(packed, weight, row, k, [&](Vec x, std::uint8_t* to) {
    const IntVec element = rounded(max(x * steps, splat(-127)));  // of NaN a small number
    total += element;
    store_bytes(to, element);
    done += kLanes;
    if (done % kGridSize != 0 && done < k) return;
    packed.offset((done - 1) / kGridSize)[row] = scale * static_cast<float>(sum(total));
    total = IntVec{};
  });
  packed.scale()[row] = scale;
}
#endif

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t linear_packed_size(Type type, int n, int k) {
  if (type == Type::int16) return linear_weights_size(n, k);
  return with_product(
      type, [&]<typename Product>(Product) { return static_cast<std::size_t>(Packed<Product>(nullptr, n, k).size()); });
}

void linear_pack(Type type, const float* weight, const float* bias, int n, int k, void* packed) {
  if (type == Type::int16) return linear_weights_pack(weight, bias, n, k, packed);
  with_product(type, [&]<typename Product>(Product) {
    const Packed<Product> to(packed, n, k);
    __builtin_memset(packed, 0, static_cast<std::size_t>(to.size()));
    int row = 0;
    if constexpr (std::is_same_v<Product, Float32>) {
      if (to.few) {
        __builtin_memcpy(packed, weight, static_cast<std::size_t>(n) * static_cast<std::size_t>(k) * sizeof(float));
        row = n;
      }
      for (; row + kLanes <= n; row += kLanes) pack_rows(to, weight, row, k);
    }
    for (; row < n; ++row) {
      pack_row(to, weight + static_cast<ptrdiff_t>(row) * k, row, k);
    }
    for (int i = 0; i < n; ++i) to.bias()[i] = bias ? bias[i] : 0.0F;
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
