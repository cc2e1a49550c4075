// One row of a layer normalisation: mean, then centred variance (no cancellation), then scale and shift.
// The mean is taken in two steps, so that a row far from zero keeps its digits and a constant one becomes beta.
#pragma once

#include "cpu/vec.h"

namespace {

// A row read by vectors, any number of times: of one matrix, or the sum of three.
template <typename T>
struct Row {
  const T* data;

  MEGASEG_INLINE Vec at(int i) const { return load(data + i); }
  MEGASEG_INLINE Vec at(int i, int count) const { return load_partial(data + i, count); }
};
struct SumRow {
  const float* a;
  const float* b;
  const float* c;

  MEGASEG_INLINE Vec at(int i) const { return load(a + i) + load(b + i) + load(c + i); }
  MEGASEG_INLINE Vec at(int i, int count) const {
    return load_partial(a + i, count) + load_partial(b + i, count) + load_partial(c + i, count);
  }
};

// The sum of f(vector, its elements) over a row, in four chains.
template <typename In, typename F>
MEGASEG_INLINE float sum_over(const In& in, int size, F f) {
  Vec acc[4] = {};
  int i = 0;
  for (; i + 4 * kLanes <= size; i += 4 * kLanes) {
    MEGASEG_UNROLL
    for (int j = 0; j < 4; ++j) acc[j] += f(in.at(i + j * kLanes));
  }
  for (; i + kLanes <= size; i += kLanes) acc[0] += f(in.at(i));
  if (i < size) acc[1] += first_lanes_of(f(in.at(i, size - i)), size - i, Vec{});
  return sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

struct Moments {
  float mean;
  float rest;         // of the mean, what its rounding left
  float inverse_std;  // 1 / sqrt(variance + eps); NaN where the variance leaves the range of float32
};

template <typename In>
MEGASEG_INLINE Moments moments_of(const In& in, int size, float eps) {
  const auto count = static_cast<float>(size);
  const float mean = sum_over(in, size, [](Vec x) { return x; }) / count;
  const float rest = sum_over(in, size, [mean](Vec x) { return x - mean; }) / count;
  const auto square = [mean, rest](Vec x) { return (x - mean - rest) * (x - mean - rest); };
  const float variance = sum_over(in, size, square) / count;
  // sqrt(v) / v is 1 / sqrt(v), and NaN of an infinite v.
  return {mean, rest, __builtin_sqrtf(variance + eps) / (variance + eps)};
}

// out = (in - mean) / sigma * gamma + beta. The row may be out's own.
template <typename In, typename Out>
MEGASEG_INLINE void normalise(const In& in, const Moments& moments, const float* gamma, const float* beta, Out* out,
                              int size) {
  const auto [mean, rest, scale] = moments;
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    store(out + i, (in.at(i) - mean - rest) * scale * load(gamma + i) + load(beta + i));
  }
  if (const int left = size - i; left > 0) {
    const Vec x = (in.at(i, left) - mean - rest) * scale;
    store_partial(out + i, x * load_partial(gamma + i, left) + load_partial(beta + i, left), left);
  }
}

}  // namespace
