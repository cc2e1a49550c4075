// Rows as int8 on grids.
#pragma once

#include "cpu/bytes.h"
#include "cpu/ops.h"

namespace {

using megaseg::cpu::Grid;
using megaseg::cpu::kGridSize;

#if defined(MEGASEG_INT8)
// The least and the largest of values, and NaN if one of them is NaN or infinite.
struct Range {
  Vec least = splat(__builtin_inff());
  Vec largest = splat(-__builtin_inff());
  Vec poison{};

  MEGASEG_INLINE void widen(Vec x) {
    least = min(least, x);
    largest = max(largest, x);
    poison += x * 0.0F;
  }
  MEGASEG_INLINE void widen(Vec x, int count) {
    least = min(least, first_lanes_of(x, count, least));
    largest = max(largest, first_lanes_of(x, count, largest));
    poison += first_lanes_of(x, count, Vec{}) * 0.0F;
  }
};

// What rounding to T leaves of a value.
template <typename T>
MEGASEG_INLINE float as(float x) {
  T element[kLanes];
  store(element, splat(x));
  return load(element)[0];
}

// element = round((x - low) / step), from the least value to the largest. A range too small to divide by is one value.
class ToGrid {
 public:
  // Of values of a range that are rounded to `In`, which keeps their order.
  template <typename In>
  MEGASEG_INLINE static ToGrid of(const Range& range) {
    return {as<In>(-maximum(-range.least)), as<In>(maximum(range.largest)), sum(range.poison)};
  }
  Grid grid() const { return grid_; }
  template <typename In>
  MEGASEG_INLINE void store_row(const In* in, std::uint8_t* out, int size) const {
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) store_bytes(out + i, element(load(in + i)));
    if (i < size) store_bytes(out + i, element(load_partial(in + i, size - i)), size - i);
  }

 private:
  MEGASEG_INLINE ToGrid(float low, float largest, float poison) : low_(low) {
    const float range = largest - low;
    const bool constant = range < 1e-36F;
    inverse_ = constant ? 0.0F : 255.0F / range;
    grid_ = {low + poison, constant ? 0.0F : range / 255.0F};
  }
  MEGASEG_INLINE IntVec element(Vec x) const { return rounded((x - low_) * inverse_); }

  float low_;
  float inverse_;
  Grid grid_;
};

// At most kGridSize values. NaN or infinity makes the grid NaN.
template <typename In>
MEGASEG_INLINE Grid quantise_grid(const In* in, std::uint8_t* out, int size) {
  Range range;
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) range.widen(load(in + i));
  if (i < size) range.widen(load_partial(in + i, size - i), size - i);
  const auto to = ToGrid::of<In>(range);
  to.store_row(in, out, size);
  return to.grid();
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
