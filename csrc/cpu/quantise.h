// Rows as int8 on grids.
#pragma once

#include "cpu/bytes.h"
#include "cpu/ops.h"

namespace {

using megaseg::cpu::Grid;
using megaseg::cpu::kGridSize;

#if defined(MEGASEG_INT8)
// element = round((x - low) / step) of at most kGridSize values, from the least one to the largest. A range too small
// to divide by is one value. NaN or infinity makes the grid NaN.
template <typename In>
MEGASEG_INLINE Grid quantise_grid(const In* in, std::uint8_t* out, int size) {
  Vec least = splat(load_partial(in, 1)[0]);
  Vec largest = least;
  Vec poison{};
  const auto widen = [&](Vec x) {
    least = min(least, x);
    largest = max(largest, x);
    poison += x * 0.0F;
  };
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) widen(load(in + i));
  if (i < size) widen(first_lanes_of(load_partial(in + i, size - i), size - i, least));
  const float low = -maximum(-least);
  const float range = maximum(largest) - low;
  const bool constant = range < 1e-36F;
  const float inverse = constant ? 0.0F : 255.0F / range;
  const auto element = [low, inverse](Vec x) { return rounded((x - low) * inverse); };
  for (i = 0; i + kLanes <= size; i += kLanes) store_bytes(out + i, element(load(in + i)));
  if (i < size) store_bytes(out + i, element(load_partial(in + i, size - i)), size - i);
  return {low + sum(poison), constant ? 0.0F : range / 255.0F};
}

#endif

// The largest magnitude, NaN if there is one: compared as integers, which order like the floats and put NaN on top.
template <typename In>
MEGASEG_INLINE float largest_magnitude(const In* in, int size) {
  IntVec top{};
  const auto raise = [&](Vec x) {
    const IntVec bits = reinterpret_cast<IntVec>(x) & 0x7FFFFFFF;
    top = bits > top ? bits : top;
  };
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) raise(load(in + i));
  if (i < size) raise(load_partial(in + i, size - i));
  std::int32_t most = 0;
  for (int j = 0; j < kLanes; ++j) most = top[j] > most ? top[j] : most;
  float value;
  __builtin_memcpy(&value, &most, sizeof value);
  return value;
}

// element = round(x / step), step = largest |x| / kMostInt16.
template <typename In>
MEGASEG_INLINE Grid quantise_grid(const In* in, std::int16_t* out, int size) {
  using Elements = std::int16_t __attribute__((vector_size(kLanes * 2)));
  constexpr float kMost = megaseg::cpu::kMostInt16;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23 leaves the nearest integer in the low bits
  const float largest = largest_magnitude(in, size);
  const bool zero = largest < 1e-34F;
  const float inverse = zero ? 0.0F : kMost / largest;
  const auto elements = [inverse](Vec x) {
    return __builtin_convertvector(reinterpret_cast<IntVec>(x * inverse + kRound), Elements);
  };
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Elements whole = elements(load(in + i));
    __builtin_memcpy(out + i, &whole, sizeof whole);
  }
  if (i < size) {
    const Elements rest = elements(load_partial(in + i, size - i));
    __builtin_memcpy(out + i, &rest, static_cast<std::size_t>(size - i) * sizeof *out);
  }
  return {0.0F, zero ? 0.0F : largest / kMost};
}

// A row of any size.
template <typename In, typename Element>
MEGASEG_INLINE void quantise(const In* in, Element* out, Grid* grids, int size) {
  for (int i = 0; i < size; i += kGridSize) {
    *grids++ = quantise_grid(in + i, out + i, size - i < kGridSize ? size - i : kGridSize);
  }
}
}  // namespace
