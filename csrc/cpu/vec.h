// Vectors of one target's width. Included only by csrc/cpu/*.cpp, which are compiled once per target: everything lives
// in an anonymous namespace, so that the linker can never swap one target's code for another's.
#pragma once

#include <cstdint>

namespace {

#if defined(MEGASEG_TARGET_avx512)
constexpr int kLanes = 16;
#elif defined(MEGASEG_TARGET_avx2)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

using Vec = float __attribute__((vector_size(kLanes * 4)));
using IntVec = std::int32_t __attribute__((vector_size(kLanes * 4)));
using UnalignedVec = float __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

#define MEGASEG_INLINE [[gnu::always_inline]] inline

MEGASEG_INLINE Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
MEGASEG_INLINE void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
MEGASEG_INLINE Vec splat(float x) { return x - Vec{}; }

// The first `count` floats, 0 in the other lanes; nothing past them is touched.
MEGASEG_INLINE Vec load_partial(const float* p, int count) {
  Vec v{};
  __builtin_memcpy(&v, p, sizeof(float) * static_cast<unsigned>(count));
  return v;
}
MEGASEG_INLINE void store_partial(float* p, Vec v, int count) {
  __builtin_memcpy(p, &v, sizeof(float) * static_cast<unsigned>(count));
}

// Sum of the lanes, always in the same order.
MEGASEG_INLINE float sum(Vec v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

}  // namespace
