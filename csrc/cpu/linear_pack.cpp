// Weights into the order that csrc/cpu/linear.h describes.
#include "cpu/linear.h"

namespace {

// W[row, 0:k] becomes column `row` of its panel.
template <typename Product, typename Convert>
MEGASEG_INLINE void pack_row(const Packed<Product>& packed, const float* weight, int row, int k, Convert convert) {
  constexpr int kColumns = Packed<Product>::kColumns;
  constexpr int kStep = Product::kStep;
  auto* column = packed.panel(row / kColumns * kColumns) + row % kColumns * kStep;
  for (int i = 0; i < k; ++i)
    column[static_cast<ptrdiff_t>(i / kStep) * kColumns * kStep + i % kStep] = convert(weight[i]);
}

void pack_row(const Packed<Float32>& packed, const float* weight, int row, int k) {
  pack_row(packed, weight, row, k, [](float x) { return x; });
}

#if defined(MEGASEG_BF16)
void pack_row(const Packed<BFloat16Pairs>& packed, const float* weight, int row, int k) {
  pack_row(packed, weight, row, k, [](float x) {
    BFloat16 rounded;
    store_partial(&rounded, splat(x), 1);
    return rounded;
  });
}
#endif

#if defined(MEGASEG_VNNI)
constexpr float kTooSmall = 1e-36F;  // to divide by

// Symmetric: 127 steps to the largest magnitude of the row. NaN or infinity makes the scale NaN.
void pack_row(const Packed<Int8>& packed, const float* weight, int row, int k) {
  float largest = 0;
  float poison = 0;
  for (int i = 0; i < k; ++i) largest = __builtin_fmaxf(largest, __builtin_fabsf(weight[i])), poison += weight[i] * 0;
  const float steps = largest < kTooSmall ? 0 : 127 / largest;
  std::int32_t sum = 0;
  pack_row(packed, weight, row, k, [&](float x) {
    const float element = __builtin_rintf(__builtin_fmaxf(-127, __builtin_fminf(127, x * steps)));
    sum += static_cast<std::int8_t>(element);
    return static_cast<std::uint8_t>(static_cast<std::int8_t>(element));
  });
  packed.scale()[row] = (largest < kTooSmall ? 0 : largest / 127) + poison;
  packed.offset()[row] = -kZeroPoint * sum;
}
#endif

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t linear_packed_size(Type type, int n, int k) {
  return with_product(
      type, [&]<typename Product>(Product) { return static_cast<std::size_t>(Packed<Product>(nullptr, n, k).size()); });
}

void linear_pack(Type type, const float* weight, const float* bias, int n, int k, void* packed) {
  with_product(type, [&]<typename Product>(Product) {
    const Packed<Product> to(packed, n, k);
    __builtin_memset(packed, 0, static_cast<std::size_t>(to.size()));
    for (int row = 0; row < n; ++row) {
      pack_row(to, weight + static_cast<ptrdiff_t>(row) * k, row, k);
      to.bias()[row] = bias ? bias[row] : 0.0F;
    }
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
