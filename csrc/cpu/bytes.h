// What int8 takes of a target besides products: rounding, narrowing, and softmax weights of 16-bit scores.
#pragma once

#include "cpu/tile.h"

#if defined(MEGASEG_INT8)

namespace {

// 510 * 2^(-i / kSteps).
constexpr int kSteps = 32;  // of a weight's exponent, by octave
struct Powers {
  std::uint16_t data[kSteps] = {};

  constexpr Powers() {
    constexpr double kStep = 0.97857206208770013;  // 2^(-1 / kSteps)
    double power = 510;
    for (int i = 0; i < kSteps; ++i, power *= kStep) data[i] = static_cast<std::uint16_t>(power + 0.5);
  }
};
alignas(64) constexpr Powers kPowers;

constexpr int kShorts = 2 * kLanes;  // int16 of a vector

#if defined(MEGASEG_NEON)

using Shorts = int16x8_t;

// To nearest, ties to even.
MEGASEG_INLINE IntVec rounded(Vec x) { return vcvtnq_s32_f32(x); }
MEGASEG_INLINE IntVec larger(IntVec a, IntVec b) { return vmaxq_s32(a, b); }
MEGASEG_INLINE int largest(IntVec x) { return vmaxvq_s32(x); }
MEGASEG_INLINE int sum(IntVec x) { return vaddvq_s32(x); }

// The low bytes of the first `count` elements.
MEGASEG_INLINE void store_bytes(std::uint8_t* to, IntVec x, int count = kLanes) {
  constexpr uint8x16_t kLow{0, 4, 8, 12};
  const uint8x16_t bytes = vqtbl1q_u8(vreinterpretq_u8_s32(x), kLow);
  __builtin_memcpy(to, &bytes, static_cast<std::size_t>(count));
}
// Bytes of 4 * kLanes integers.
MEGASEG_INLINE Vec narrow_to_bytes(IntVec a, IntVec b, IntVec c, IntVec d) {
  const int16x8_t low = vcombine_s16(vmovn_s32(a), vmovn_s32(b));
  const int16x8_t high = vcombine_s16(vmovn_s32(c), vmovn_s32(d));
  return vreinterpretq_f32_s8(vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

MEGASEG_INLINE Shorts splat_short(int x) { return vdupq_n_s16(static_cast<std::int16_t>(x)); }
MEGASEG_INLINE Shorts load_shorts(const std::int16_t* p) { return vld1q_s16(p); }
MEGASEG_INLINE void store_shorts(std::int16_t* p, Shorts x) { vst1q_s16(p, x); }
MEGASEG_INLINE Shorts less(Shorts a, Shorts b) { return vqsubq_s16(a, b); }  // saturated
MEGASEG_INLINE Shorts twice(Shorts x) { return vqaddq_s16(x, x); }           // saturated
MEGASEG_INLINE Shorts larger(Shorts a, Shorts b) { return vmaxq_s16(a, b); }
MEGASEG_INLINE int largest(Shorts x) { return vmaxvq_s16(x); }
MEGASEG_INLINE Shorts scaled(Shorts x, Shorts by) { return vqrdmulhq_s16(x, by); }  // x * by / 2^15, rounded

// Which of a panel's keys lies in a lane, so that its weights are bytes in order.
constexpr int token_of_lane(int vec, int lane) { return vec * kLanes + lane; }

// One row's scores of a panel, of which `shift` bits go.
MEGASEG_INLINE void store_scores(std::int16_t* to, const IntVec (&sum)[kTileVecs], int shift) {
  const auto part = [&](int j) { return vqmovn_s32(vshlq_s32(sum[j], vdupq_n_s32(-shift))); };
  store_shorts(to, vcombine_s16(part(0), part(1)));
}

// 255 * 2^(-x / kSteps), rounded: whole octaves are a shift.
MEGASEG_INLINE uint16x8_t power(Shorts x) {
  const uint8x16x4_t bytes = vld1q_u8_x4(reinterpret_cast<const std::uint8_t*>(kPowers.data));  // little-endian
  const auto low = vshlq_n_u16(vandq_u16(vreinterpretq_u16_s16(x), vdupq_n_u16(kSteps - 1)), 1);
  const auto index = vorrq_u16(vsliq_n_u16(low, low, 8), vdupq_n_u16(256));  // of both bytes
  const auto part = vreinterpretq_u16_u8(vqtbl4q_u8(bytes, vreinterpretq_u8_u16(index)));
  const auto octaves = vminq_s16(vshrq_n_s16(x, 5), vdupq_n_s16(15));
  return vrshrq_n_u16(vshlq_u16(part, vnegq_s16(octaves)), 1);
}

// Bytes of a panel's weights, of which `count` are not zeros; what they sum to goes to `total`.
MEGASEG_INLINE void store_weights(std::uint8_t* to, const Shorts (&x)[kPanel / kShorts], int count, IntVec& total) {
  constexpr uint16x8_t kIndex{0, 1, 2, 3, 4, 5, 6, 7};
  const uint16x8_t exists = vcltq_u16(kIndex, vdupq_n_u16(static_cast<std::uint16_t>(count)));
  const uint16x8_t weight = vandq_u16(power(x[0]), exists);
  total = vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(total), weight));
  vst1_u8(to, vmovn_u16(weight));
}

#else

using Shorts = __m512i;

// To nearest, ties to even.
MEGASEG_INLINE IntVec rounded(Vec x) { return reinterpret_cast<IntVec>(_mm512_cvtps_epi32(x)); }
MEGASEG_INLINE IntVec larger(IntVec a, IntVec b) {
  return reinterpret_cast<IntVec>(_mm512_max_epi32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
MEGASEG_INLINE int largest(IntVec x) { return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(x)); }
MEGASEG_INLINE int sum(IntVec x) { return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(x)); }

MEGASEG_INLINE __m128i low_bytes(IntVec x) { return _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(x)); }
// The low bytes of all elements, or of the first `count`.
MEGASEG_INLINE void store_bytes(std::uint8_t* to, IntVec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), low_bytes(x));
}
MEGASEG_INLINE void store_bytes(std::uint8_t* to, IntVec x, int count) {
  _mm_mask_storeu_epi8(to, first_lanes(count), low_bytes(x));
}
// Bytes of 4 * kLanes integers.
MEGASEG_INLINE Vec narrow_to_bytes(IntVec a, IntVec b, IntVec c, IntVec d) {
  __m512i bytes = _mm512_inserti32x4(_mm512_castsi128_si512(low_bytes(a)), low_bytes(b), 1);
  bytes = _mm512_inserti32x4(_mm512_inserti32x4(bytes, low_bytes(c), 2), low_bytes(d), 3);
  return _mm512_castsi512_ps(bytes);
}

MEGASEG_INLINE Shorts splat_short(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
MEGASEG_INLINE Shorts load_shorts(const std::int16_t* p) { return _mm512_loadu_si512(p); }
MEGASEG_INLINE void store_shorts(std::int16_t* p, Shorts x) { _mm512_storeu_si512(p, x); }
MEGASEG_INLINE Shorts less(Shorts a, Shorts b) { return _mm512_subs_epi16(a, b); }  // saturated
MEGASEG_INLINE Shorts twice(Shorts x) { return _mm512_adds_epi16(x, x); }           // saturated
MEGASEG_INLINE Shorts larger(Shorts a, Shorts b) { return _mm512_max_epi16(a, b); }
MEGASEG_INLINE int largest(Shorts x) {
  const auto half = [&](__m256i part) { return _mm512_cvtepi16_epi32(part); };
  return _mm512_reduce_max_epi32(
      _mm512_max_epi32(half(_mm512_castsi512_si256(x)), half(_mm512_extracti64x4_epi64(x, 1))));
}
MEGASEG_INLINE Shorts scaled(Shorts x, Shorts by) { return _mm512_mulhrs_epi16(x, by); }  // x * by / 2^15, rounded

// Packing four vectors of scores to bytes interleaves them by four: keys lie in panels so that bytes are in order.
constexpr int token_of_lane(int vec, int lane) { return lane / 4 * 16 + vec * 4 + lane % 4; }

// One row's scores of a panel, of which `shift` bits go.
MEGASEG_INLINE void store_scores(std::int16_t* to, const IntVec (&sum)[kTileVecs], int shift) {
  const __m512i by = _mm512_set1_epi32(shift);
  const auto part = [&](int j) { return _mm512_srav_epi32(reinterpret_cast<__m512i>(sum[j]), by); };
  store_shorts(to, _mm512_packs_epi32(part(0), part(1)));
  store_shorts(to + kShorts, _mm512_packs_epi32(part(2), part(3)));
}

// 255 * 2^(-x / kSteps), rounded: whole octaves are a shift.
MEGASEG_INLINE __m512i power(Shorts x) {
  const __m512i part = _mm512_permutexvar_epi16(x, _mm512_load_si512(kPowers.data));
  return _mm512_avg_epu16(_mm512_srlv_epi16(part, _mm512_srli_epi16(x, 5)), _mm512_setzero_si512());
}

// Bytes of a panel's weights, of which `count` are not zeros; what they sum to goes to `total`.
MEGASEG_INLINE void store_weights(std::uint8_t* to, const Shorts (&x)[kPanel / kShorts], int count, IntVec& total) {
  __m512i weight = _mm512_packus_epi16(power(x[0]), power(x[1]));
  if (count < kPanel) weight = _mm512_maskz_mov_epi8((1ULL << count) - 1, weight);
  Int8::dot(total, weight, _mm512_set1_epi8(1));
  _mm512_storeu_si512(to, weight);
}

#endif

}  // namespace

#endif
