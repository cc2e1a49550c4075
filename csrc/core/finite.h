// Whether floats are finite, by their bits: an exponent of ones is NaN or Inf.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace megaseg {

// Bits are uint16_t of float16 or uint32_t of float32: a sign, exponents, and so many bits of fraction.
template <typename Bits>
bool all_finite(const Bits* values, std::size_t count) {
  constexpr Bits kOne = sizeof(Bits) == 2 ? 1 << 10 : 1 << 23;  // the exponent's last bit
  constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  constexpr Bits kExponent = kSign - kOne;
  constexpr std::size_t kBlock = 4096;  // without a branch, so that it runs in vectors
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t end = std::min(count, begin + kBlock);
    Bits found = 0;
    for (std::size_t i = begin; i < end; ++i) found |= static_cast<Bits>((values[i] & kExponent) + kOne);  // carries
    if (found & kSign) return false;
  }
  return true;
}

}  // namespace megaseg
