// Whether floats are finite, by their bits: an exponent of ones is NaN or Inf.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace megaseg {

template <typename Bits>
constexpr Bits kExponent = 0;
template <>
inline constexpr std::uint16_t kExponent<std::uint16_t> = 0x7C00;  // of float16
template <>
inline constexpr std::uint32_t kExponent<std::uint32_t> = 0x7F800000;  // of float32

template <typename Bits>
bool all_finite(const Bits* values, std::size_t count) {
  constexpr std::size_t kBlock = 4096;  // without a branch, so that it runs in vectors
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t end = std::min(count, begin + kBlock);
    Bits found = 0;
    for (std::size_t i = begin; i < end; ++i) {
      found |= static_cast<Bits>((values[i] & kExponent<Bits>) == kExponent<Bits>);
    }
    if (found) return false;
  }
  return true;
}

}  // namespace megaseg
