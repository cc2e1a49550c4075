// Rows as int8 on grids.
#pragma once

#include "cpu/ops.h"

namespace {

#if defined(MEGASEG_VNNI)
using megaseg::cpu::Grid;
using megaseg::cpu::kGridSize;

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
  const auto element = [low, inverse](Vec x) { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32((x - low) * inverse)); };
  for (i = 0; i + kLanes <= size; i += kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), element(load(in + i)));
  }
  if (i < size) _mm_mask_storeu_epi8(out + i, first_lanes(size - i), element(load_partial(in + i, size - i)));
  return {low + sum(poison), constant ? 0.0F : range / 255.0F};
}

// A row of any size.
template <typename In>
MEGASEG_INLINE void quantise(const In* in, std::uint8_t* out, Grid* grids, int size) {
  for (int i = 0; i < size; i += kGridSize) {
    *grids++ = quantise_grid(in + i, out + i, size - i < kGridSize ? size - i : kGridSize);
  }
}
#endif

}  // namespace
