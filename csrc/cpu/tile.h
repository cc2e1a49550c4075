// The register tile under every product: up to kTileRows rows of A, broadcast, times up to kTileVecs vectors of B.
// Each element of C is one chain of multiply-adds over k in order, whatever the tile's shape: results never depend on
// how rows are split between tiles, tasks or threads.
#pragma once

#include "cpu/vec.h"

namespace {

#if defined(MEGASEG_AVX512)
constexpr int kTileVecs = 4;  // 6 x 4 accumulators of 32 registers
constexpr int kTileRows = 6;
#elif defined(MEGASEG_NEON)
constexpr int kTileVecs = 2;  // 8 x 2 accumulators of 32 registers: 8 hold four words of each row
constexpr int kTileRows = 8;
#else
constexpr int kTileVecs = 2;  // 6 x 2 accumulators of 16 registers
constexpr int kTileRows = 6;
#endif
constexpr int kPanel = kTileVecs * kLanes;

// The products: kStep neighbours in k of a row of A make a word, broadcast to every lane; B keeps kStep neighbours in k
// of a column side by side. One instruction multiplies them and adds to the column's sum.
struct Float32 {
  using Element = float;
  using Words = Vec;
  using Sum = Vec;
  using Scalar = float;
  static constexpr int kStep = 1;

  MEGASEG_INLINE static Vec add(Vec a, Vec b) { return a + b; }
  MEGASEG_INLINE static Vec word(const float* p) { return splat(*p); }
  MEGASEG_INLINE static Vec words(const float* p) { return load(p); }
#if defined(MEGASEG_NEON)
  MEGASEG_INLINE static void dot(Vec& sum, Vec x, Vec w) { sum = vfmaq_f32(sum, x, w); }
  template <int kWord>
  MEGASEG_INLINE static void dot_word(Vec& sum, Vec x, Vec w) {
    sum = vfmaq_laneq_f32(sum, w, x, kWord);
  }
#else
  MEGASEG_INLINE static void dot(Vec& sum, Vec x, Vec w) { sum += x * w; }
#endif
};

}  // namespace

#if defined(MEGASEG_NEON)
#include "cpu/tile_neon.h"
#else
namespace {

#if defined(MEGASEG_VNNI)
// int32 that reads as four bytes or two bfloat16.
template <typename T>
MEGASEG_INLINE __m512i splat_word(const T* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

// Unsigned times signed bytes. Sums wrap around, so that they are exact if the last one fits. (Of unsigned type GCC 12
// would move them from register to register.)
struct Int8 {
  using Element = std::uint8_t;
  using Sum = IntVec;
  using Scalar = std::int32_t;
  static constexpr int kStep = 4;

  MEGASEG_INLINE static IntVec add(IntVec a, IntVec b) {
    return reinterpret_cast<IntVec>(_mm512_add_epi32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
  }
  MEGASEG_INLINE static __m512i word(const std::uint8_t* p) { return splat_word(p); }
  MEGASEG_INLINE static __m512i words(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  MEGASEG_INLINE static void dot(IntVec& sum, __m512i x, __m512i w) {
    sum = reinterpret_cast<IntVec>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), x, w));
  }
};
#endif

#if defined(MEGASEG_BF16)
struct BFloat16Pairs {
  using Element = BFloat16;
  using Sum = Vec;
  using Scalar = float;
  static constexpr int kStep = 2;

  MEGASEG_INLINE static Vec add(Vec a, Vec b) { return a + b; }
  MEGASEG_INLINE static __m512i word(const BFloat16* p) { return splat_word(p); }
  MEGASEG_INLINE static __m512i words(const BFloat16* p) { return _mm512_loadu_si512(p); }
  MEGASEG_INLINE static void dot(Vec& sum, __m512i x, __m512i w) {
    sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
  }
};
#endif

// acc += A[0:Rows, 0:k] B[0:k, 0:Vecs * kLanes], strides in elements: from row to row of A, from word to word of B. k
// is a multiple of kStep. With every word goes a request for the line `ahead` bytes on in B, if any, to the L2 cache.
template <typename Product, int Rows, int Vecs>
MEGASEG_INLINE void multiply(const typename Product::Element* a, ptrdiff_t a_stride, const typename Product::Element* b,
                             ptrdiff_t b_stride, int k, typename Product::Sum (&acc)[Rows][Vecs], ptrdiff_t ahead = 0) {
  constexpr int kStep = Product::kStep;
  MEGASEG_NO_UNROLL
  for (int p = 0; p < k; p += kStep, b += b_stride) {
    decltype(Product::words(b)) column[Vecs];
    MEGASEG_UNROLL
    for (int j = 0; j < Vecs; ++j) column[j] = Product::words(b + j * kLanes * kStep);
    if (ahead) __builtin_prefetch(reinterpret_cast<const char*>(b) + ahead, 0, 2);
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const auto x = Product::word(a + i * a_stride + p);
      MEGASEG_UNROLL
      for (int j = 0; j < Vecs; ++j) Product::dot(acc[i][j], x, column[j]);
    }
  }
}

}  // namespace
#endif
