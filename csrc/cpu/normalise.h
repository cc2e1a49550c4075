// One row of a layer normalisation: mean, then centred variance (no cancellation), then scale and shift.
#pragma once

#include "cpu/vec.h"

namespace {

MEGASEG_INLINE float mean_of(const float* row, int size) {
  Vec acc{};
  float tail = 0;
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) acc += load(row + i);
  for (; i < size; ++i) tail += row[i];
  return (sum(acc) + tail) / static_cast<float>(size);
}

MEGASEG_INLINE float variance_of(const float* row, int size, float mean) {
  Vec acc{};
  float tail = 0;
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Vec d = load(row + i) - mean;
    acc += d * d;
  }
  for (; i < size; ++i) tail += (row[i] - mean) * (row[i] - mean);
  return (sum(acc) + tail) / static_cast<float>(size);
}

// out = (in - mean) / sqrt(variance + eps) * gamma + beta; returns 1 / sqrt(variance + eps). in may be out.
MEGASEG_INLINE float normalise(const float* in, const float* gamma, const float* beta, float* out, int size,
                               float eps) {
  const float mean = mean_of(in, size);
  const float scale = 1.0F / __builtin_sqrtf(variance_of(in, size, mean) + eps);
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    store(out + i, (load(in + i) - mean) * scale * load(gamma + i) + load(beta + i));
  }
  for (; i < size; ++i) out[i] = (in[i] - mean) * scale * gamma[i] + beta[i];
  return scale;
}

}  // namespace
