// Vectors of one target's width. Included only by csrc/cpu/*.cpp, which are compiled once per target: everything lives
// in an anonymous namespace, so that the linker can never swap one target's code for another's.
#pragma once

#if defined(MEGASEG_AVX512) || defined(MEGASEG_AVX2)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

namespace {

using std::ptrdiff_t;

#if defined(MEGASEG_AVX512)
constexpr int kLanes = 16;
#elif defined(MEGASEG_AVX2)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }

using Vec = float __attribute__((vector_size(kLanes * 4)));
using IntVec = std::int32_t __attribute__((vector_size(kLanes * 4)));

#define MEGASEG_INLINE [[gnu::always_inline]] inline
#if defined(__clang__)
#define MEGASEG_UNROLL _Pragma("clang loop unroll(full)")
#define MEGASEG_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define MEGASEG_UNROLL _Pragma("GCC unroll 32")
#define MEGASEG_NO_UNROLL _Pragma("GCC unroll 1")
#endif

MEGASEG_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
MEGASEG_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
MEGASEG_INLINE IntVec load(const std::int32_t* p) {
  IntVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
MEGASEG_INLINE void store(std::int32_t* p, IntVec v) { __builtin_memcpy(p, &v, sizeof v); }
MEGASEG_INLINE Vec splat(float x) { return x - Vec{}; }

// The first `count` elements, 0 in the other lanes; nothing past them is touched.
#if defined(MEGASEG_AVX512)
MEGASEG_INLINE __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1U << count) - 1); }
MEGASEG_INLINE Vec first_lanes_of(Vec v, int count, Vec others) {
  return _mm512_mask_mov_ps(others, first_lanes(count), v);
}
MEGASEG_INLINE Vec load_partial(const float* p, int count) { return _mm512_maskz_loadu_ps(first_lanes(count), p); }
MEGASEG_INLINE void store_partial(float* p, Vec v, int count) { _mm512_mask_storeu_ps(p, first_lanes(count), v); }
#else
MEGASEG_INLINE Vec first_lanes_of(Vec v, int count, Vec others) {
  IntVec lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < count ? v : others;
}
MEGASEG_INLINE Vec load_partial(const float* p, int count) {
  Vec v{};
  __builtin_memcpy(&v, p, static_cast<std::size_t>(count) * 4);
  return v;
}
MEGASEG_INLINE void store_partial(float* p, Vec v, int count) {
  __builtin_memcpy(p, &v, static_cast<std::size_t>(count) * 4);
}
#endif

// A target has products of bytes.
#if defined(MEGASEG_VNNI) || defined(MEGASEG_DOTPROD)
#define MEGASEG_INT8 1
#endif

#if defined(MEGASEG_BF16)
// The upper half of a float32. Stores round to nearest, ties to even; NaN stays NaN, denormals may become 0.
struct BFloat16 {
  std::uint16_t bits;
};

#if defined(MEGASEG_NEON)
MEGASEG_INLINE Vec widen(uint16x4_t half) { return vreinterpretq_f32_u32(vshll_n_u16(half, 16)); }
MEGASEG_INLINE uint16x4_t narrow(Vec v) { return vreinterpret_u16_bf16(vcvt_bf16_f32(v)); }
// The elements of a, then those of b, as bfloat16.
MEGASEG_INLINE Vec narrow(Vec a, Vec b) {
  return vreinterpretq_f32_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(a), b));
}
// Element i of a, then element i of b, as bfloat16.
MEGASEG_INLINE Vec interleave(Vec a, Vec b) {
  const uint16x4x2_t pairs = vzip_u16(narrow(a), narrow(b));
  return vreinterpretq_f32_u16(vcombine_u16(pairs.val[0], pairs.val[1]));
}
MEGASEG_INLINE Vec load(const BFloat16* p) { return widen(vld1_u16(reinterpret_cast<const std::uint16_t*>(p))); }
MEGASEG_INLINE void store(BFloat16* p, Vec v) { vst1_u16(reinterpret_cast<std::uint16_t*>(p), narrow(v)); }
MEGASEG_INLINE Vec load_partial(const BFloat16* p, int count) {
  uint16x4_t half{};
  __builtin_memcpy(&half, p, static_cast<std::size_t>(count) * 2);
  return widen(half);
}
MEGASEG_INLINE void store_partial(BFloat16* p, Vec v, int count) {
  const uint16x4_t half = narrow(v);
  __builtin_memcpy(p, &half, static_cast<std::size_t>(count) * 2);
}
#else
MEGASEG_INLINE Vec widen(__m256i half) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
MEGASEG_INLINE __m256i narrow(Vec v) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)); }
// The elements of a, then those of b, as bfloat16.
MEGASEG_INLINE Vec narrow(Vec a, Vec b) { return reinterpret_cast<Vec>(_mm512_cvtne2ps_pbh(b, a)); }
// Element i of a, then element i of b, as bfloat16.
MEGASEG_INLINE Vec interleave(Vec a, Vec b) {
  constexpr IntVec kOrder{0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007,
                          0x180008, 0x190009, 0x1A000A, 0x1B000B, 0x1C000C, 0x1D000D, 0x1E000E, 0x1F000F};
  return reinterpret_cast<Vec>(
      _mm512_permutexvar_epi16(reinterpret_cast<__m512i>(kOrder), reinterpret_cast<__m512i>(narrow(a, b))));
}
MEGASEG_INLINE Vec load(const BFloat16* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
MEGASEG_INLINE void store(BFloat16* p, Vec v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(v)); }
MEGASEG_INLINE Vec load_partial(const BFloat16* p, int count) {
  return widen(_mm256_maskz_loadu_epi16(first_lanes(count), p));
}
MEGASEG_INLINE void store_partial(BFloat16* p, Vec v, int count) {
  _mm256_mask_storeu_epi16(p, first_lanes(count), narrow(v));
}
#endif
#endif

// One instruction where `a > b ? a : b` would be a comparison and a blend.
#if defined(MEGASEG_AVX512)
MEGASEG_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
MEGASEG_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
#elif defined(MEGASEG_AVX2)
MEGASEG_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
MEGASEG_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
#elif defined(MEGASEG_NEON)  // NaN wins
MEGASEG_INLINE Vec max(Vec a, Vec b) { return vmaxq_f32(a, b); }
MEGASEG_INLINE Vec min(Vec a, Vec b) { return vminq_f32(a, b); }
#else
MEGASEG_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
MEGASEG_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
#endif

// Bit i: a[i] >= b[i]; NaN is not.
MEGASEG_INLINE std::uint64_t at_least(Vec a, Vec b) {
#if defined(MEGASEG_AVX512)
  return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
#elif defined(MEGASEG_AVX2)
  return static_cast<std::uint64_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
#elif defined(MEGASEG_NEON)
  constexpr uint32x4_t kBits{1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), kBits));
#else
  const IntVec mask = a >= b;
  std::uint64_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= static_cast<std::uint64_t>(mask[i] & 1) << i;
  return bits;
#endif
}

// Lane i of the result is lane i ^ kDistance.
template <int kDistance, int... kIndex>
MEGASEG_INLINE Vec swap_lanes(Vec v, std::integer_sequence<int, kIndex...>) {
  return __builtin_shufflevector(v, v, (kIndex ^ kDistance)...);
}

// Sum and maximum of the lanes, always in the same order: halves, quarters, ...
template <int kDistance = kLanes / 2>
MEGASEG_INLINE float sum(Vec v) {
  v = v + swap_lanes<kDistance>(v, std::make_integer_sequence<int, kLanes>());
  if constexpr (kDistance > 1) return sum<kDistance / 2>(v);
  return v[0];
}
template <int kDistance = kLanes / 2>
MEGASEG_INLINE float maximum(Vec v) {
  v = max(v, swap_lanes<kDistance>(v, std::make_integer_sequence<int, kLanes>()));
  if constexpr (kDistance > 1) return maximum<kDistance / 2>(v);
  return v[0];
}

// m[i][j] becomes m[j][i]: squares of two, four, ... lanes change places.
template <int kSize, int... kIndex>
MEGASEG_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, kIndex...>) {
  const Vec upper = __builtin_shufflevector(a, b, (kIndex & kSize ? kLanes + kIndex - kSize : kIndex)...);
  b = __builtin_shufflevector(a, b, (kIndex & kSize ? kLanes + kIndex : kIndex + kSize)...);
  a = upper;
}
template <int kSize = 1>
MEGASEG_INLINE void transpose(Vec (&m)[kLanes]) {
  MEGASEG_UNROLL
  for (int i = 0; i < kLanes; ++i) {
    if (!(i & kSize)) exchange<kSize>(m[i], m[i + kSize], std::make_integer_sequence<int, kLanes>());
  }
  if constexpr (2 * kSize < kLanes) transpose<2 * kSize>(m);
}

// sum over i of c[i] x^i.
template <int N>
MEGASEG_INLINE Vec polynomial(Vec x, const float (&c)[N]) {
  Vec r = splat(c[N - 1]);
  MEGASEG_UNROLL
  for (int i = N - 2; i >= 0; --i) r = r * x + c[i];
  return r;
}

// 2^x for x <= 0, relative error below 2e-7; x below -126 gives at most 2^-126, nothing next to the 1 of a softmax's
// maximum. x = n + f and a minimax polynomial gives 2^f.
#if defined(MEGASEG_AVX512)
// f in [0, 1): the instruction that scales by 2^n rounds n down itself.
template <int N>
MEGASEG_INLINE Vec exp2(Vec x, const float (&c)[N]) {
  const Vec f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  return _mm512_scalef_ps(polynomial(f, c), x);
}
MEGASEG_INLINE Vec exp2(Vec x) {
  return exp2(x, {0.99999994F, 0.693153083F, 0.240153611F, 0.0558263175F, 0.00898933969F, 0.00187757669F});
}
// Relative error below 8e-5, a twentieth of bfloat16's.
MEGASEG_INLINE Vec exp2_coarse(Vec x) { return exp2(x, {0.999925196F, 0.695833564F, 0.226067156F, 0.0780245215F}); }
#else
// |f| <= 1/2: adding 1.5 * 2^23 leaves n in the low bits.
template <int N>
MEGASEG_INLINE Vec exp2(Vec x, const float (&c)[N]) {
  constexpr float kRound = 12582912.0F;
  x = max(x, splat(-126.0F));
  const Vec shifted = x + kRound;
  const Vec p = polynomial(x - (shifted - kRound), c);
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(p) + (reinterpret_cast<IntVec>(shifted) << 23));
}
MEGASEG_INLINE Vec exp2(Vec x) {
  return exp2(x, {1.0F, 0.6931472F, 0.24022646F, 0.055503286F, 0.009618489F, 0.0013399931F, 1.5345812e-4F});
}
// Relative error below 8e-5, a twentieth of bfloat16's.
MEGASEG_INLINE Vec exp2_coarse(Vec x) { return exp2(x, {0.99992806F, 0.69326097F, 0.24261113F, 0.05517167F}); }
#endif

// x Phi(x) = max(x, 0) - t Q(t), t = |x|, Q(t) = erfc(t / sqrt 2) / 2: absolute error below 3e-7 |x| / 4 + 4e-8 without
// a division. Q is a minimax polynomial in s = 2 t / 5.5 - 1 of the absolute error of t Q(t); t Q(t) < 2e-7 past 5.5.
MEGASEG_INLINE Vec gelu(Vec x) {
  constexpr float kEnd = 5.5F;
  const Vec zero{};
  const Vec t = min(max(x, -x), splat(kEnd));
  const Vec s = t * (2.0F / kEnd) - 1.0F;
  const Vec q =
      polynomial(s, {2.979769139e-03F, -2.500749193e-02F, 9.455805272e-02F, -2.068358958e-01F, 2.719026506e-01F,
                     -1.767834872e-01F, -5.165712163e-02F, 2.161794454e-01F, -1.612882912e-01F, -2.822224051e-02F,
                     1.275409460e-01F, -5.956739932e-02F, -3.424079716e-02F, 3.837737441e-02F, -2.169643063e-03F,
                     -8.141599596e-03F, 2.375727054e-03F});
  return max(zero, x) - t * q;  // in this order NaN stays
}

// Absolute error below 2e-7: (1 - t) / (1 + t) with t = exp(-2 |x|), and near 0, where that loses digits, an odd
// polynomial (Cephes' tanhf). NaN stays NaN.
MEGASEG_INLINE Vec tanh(Vec x) {
  constexpr float kSmall = 0.625F;
  constexpr float kTwoLog2E = 2.88539008F;
  const Vec magnitude = max(x, -x);
  const Vec t = exp2(magnitude * -kTwoLog2E);
  const Vec large = (1.0F - t) / (1.0F + t);
  const Vec z = x * x;
  const Vec odd =
      polynomial(z, {1.0F, -3.33332819e-01F, 1.33314422e-01F, -5.37397156e-02F, 2.06390888e-02F, -5.70498873e-03F}) * x;
  const Vec value = magnitude < kSmall ? odd : x < 0.0F ? -large : large;
  return x == x ? value : x;
}

}  // namespace
