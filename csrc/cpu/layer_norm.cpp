// Layer normalisation, one row at a time: mean, then centred variance (no cancellation), then scale and shift.
#include "cpu/ops.h"

namespace {

// Applies f(vector, offset, count) over a row; the last vector may be partial.
MEGASEG_INLINE float row_sum(const float* row, int size) {
  Vec acc{};
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) acc += load(row + i);
  if (i < size) acc += load_partial(row + i, size - i);
  return sum(acc);
}

MEGASEG_INLINE float row_variance_sum(const float* row, int size, float mean) {
  Vec acc{};
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Vec d = load(row + i) - mean;
    acc += d * d;
  }
  float tail = 0;
  for (; i < size; ++i) tail += (row[i] - mean) * (row[i] - mean);
  return sum(acc) + tail;
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

void layer_norm(const LayerNormArgs& args, int begin, int end) {
  const int size = args.size;
  for (int r = begin; r < end; ++r) {
    const float* in = args.in + static_cast<std::ptrdiff_t>(r) * size;
    float* out = args.out + static_cast<std::ptrdiff_t>(r) * size;
    const float mean = row_sum(in, size) / static_cast<float>(size);
    const float variance = row_variance_sum(in, size, mean) / static_cast<float>(size);
    const float scale = 1.0F / __builtin_sqrtf(variance + args.eps);
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) {
      store(out + i, (load(in + i) - mean) * scale * load(args.gamma + i) + load(args.beta + i));
    }
    for (; i < size; ++i) out[i] = (in[i] - mean) * scale * args.gamma[i] + args.beta[i];
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
