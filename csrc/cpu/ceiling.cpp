// What the target can do at most: its products on data in the L1 cache, and reading as fast as it can.
#include "cpu/linear.h"

#if defined(MEGASEG_AMX)
#include "cpu/amx.h"
#endif

namespace {

constexpr int kRounds = 64;  // of a tile of registers over a panel of B that stays in the L1 cache

#if defined(MEGASEG_AMX)
template <typename Product>
double multiply_tiles(int times) {
  Tiles tiles;
  tiles.configure(kTileHeight, kTileHeight);
  for (int i = 0; i < times * kRounds; ++i) {
    tiles.dot<kC00, kA0, kB0>(Product{});
    tiles.dot<kC01, kA0, kB1>(Product{});
    tiles.dot<kC10, kA1, kB0>(Product{});
    tiles.dot<kC11, kA1, kB1>(Product{});
  }
  return 4.0 * kTileHeight * kTileHeight * kTileBytes / 4 * Product::kStep * 2;
}
#endif

template <typename Product>
double multiply_registers(int times, const float* data, float* out) {
  using Element = typename Product::Element;
  constexpr int kStep = Product::kStep;
  typename Product::Sum sums[kTileRows][kTileVecs] = {};
  const auto* b = reinterpret_cast<const Element*>(data);
  const Element* a = b + kRounds * kPanel * kStep;
  for (int i = 0; i < times; ++i) {
    multiply<Product, kTileRows, kTileVecs>(a, kRounds * kStep, b, kPanel * kStep, kRounds * kStep, sums);
  }
  __builtin_memcpy(out, sums, sizeof sums);
  return 2.0 * kTileRows * kPanel * kStep;
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

static_assert(kRounds * (kPanel + kTileRows) <= kCeilingFloats && kTileRows * kPanel <= kCeilingFloats);

double product_ceiling(Type type, int times, const float* data, float* out) {
  return times * static_cast<double>(kRounds) * with_product(type, [&]<typename Product>(Product) {
#if defined(MEGASEG_AMX)
           if constexpr (Packed<Product>::kTiled) return multiply_tiles<Product>(times);
#endif
           return multiply_registers<Product>(times, data, out);
         });
}

float read_ceiling(const float* data, std::size_t count) {
  constexpr int kSums = 8;
  Vec sums[kSums] = {};
  for (std::size_t i = 0; i + kSums * kLanes <= count; i += kSums * kLanes) {
    MEGASEG_UNROLL
    for (int j = 0; j < kSums; ++j) sums[j] += load(data + i + j * kLanes);
  }
  for (int j = 1; j < kSums; ++j) sums[0] += sums[j];
  return sum(sums[0]);
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
