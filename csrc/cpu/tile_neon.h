// The products of csrc/cpu/tile.h on 64-bit ARM, and their loop over k: four words of a row of A are loaded at once,
// and instructions multiply by one of them (dot_word), or by two of two rows (dot_pairs, whose sums are [2, 2]: two
// rows and two columns).
#pragma once

#include "cpu/vec.h"

namespace {

template <typename T>
MEGASEG_INLINE int32x4_t splat_word(const T* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return vdupq_n_s32(word);
}

#if defined(MEGASEG_DOTPROD)
// Unsigned times signed bytes. Sums wrap around, so that they are exact if the last one fits.
struct Int8 {
  using Element = std::uint8_t;
  using Words = uint8x16_t;
  using Sum = IntVec;
  using Scalar = std::int32_t;
  static constexpr int kStep = 4;

  MEGASEG_INLINE static IntVec add(IntVec a, IntVec b) { return vaddq_s32(a, b); }
  MEGASEG_INLINE static Words word(const std::uint8_t* p) { return vreinterpretq_u8_s32(splat_word(p)); }
  MEGASEG_INLINE static Words words(const std::uint8_t* p) { return vld1q_u8(p); }
#if defined(MEGASEG_I8MM)
  MEGASEG_INLINE static void dot(IntVec& sum, Words x, Words w) { sum = vusdotq_s32(sum, x, vreinterpretq_s8_u8(w)); }
  MEGASEG_INLINE static void dot_pairs(IntVec& sum, Words x, Words w) {
    sum = vusmmlaq_s32(sum, x, vreinterpretq_s8_u8(w));
  }
#else
  // Instructions take bytes of one kind: x w = (x - 128) w + 128 w, and the second sum is that of the column.
  MEGASEG_INLINE static void add_column(IntVec& sum, Words w) {
    sum = vdotq_s32(sum, vdupq_n_s8(-128), vreinterpretq_s8_u8(w));
  }
  MEGASEG_INLINE static Words less_128(Words x) { return veorq_u8(x, vdupq_n_u8(128)); }
  MEGASEG_INLINE static void dot(IntVec& sum, Words x, Words w) {
    IntVec column{};
    add_column(column, w);
    sum = vdotq_s32(vsubq_s32(sum, column), vreinterpretq_s8_u8(less_128(x)), vreinterpretq_s8_u8(w));
  }
  template <int kWord>
  MEGASEG_INLINE static void dot_word(IntVec& sum, Words x, Words w) {
    sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(x), kWord);
  }
#endif
};
#endif

#if defined(MEGASEG_BF16)
struct BFloat16Pairs {
  using Element = BFloat16;
  using Words = bfloat16x8_t;
  using Sum = Vec;
  using Scalar = float;
  static constexpr int kStep = 2;

  MEGASEG_INLINE static Vec add(Vec a, Vec b) { return a + b; }
  MEGASEG_INLINE static Words word(const BFloat16* p) { return vreinterpretq_bf16_s32(splat_word(p)); }
  MEGASEG_INLINE static Words words(const BFloat16* p) {
    return vreinterpretq_bf16_u16(vld1q_u16(reinterpret_cast<const std::uint16_t*>(p)));
  }
  MEGASEG_INLINE static void dot(Vec& sum, Words x, Words w) { sum = vbfdotq_f32(sum, x, w); }
  MEGASEG_INLINE static void dot_pairs(Vec& sum, Words x, Words w) { sum = vbfmmlaq_f32(sum, x, w); }
};
#endif

// A word of each row, from every lane.
template <typename Product, int Rows, int Vecs>
MEGASEG_INLINE void multiply_word(const typename Product::Element* a, ptrdiff_t a_stride,
                                  const typename Product::Element* b, typename Product::Sum (&acc)[Rows][Vecs]) {
  MEGASEG_UNROLL
  for (int j = 0; j < Vecs; ++j) {
    const auto column = Product::words(b + j * kLanes * Product::kStep);
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) Product::dot(acc[i][j], Product::word(a + i * a_stride), column);
  }
}

// Word kWord of each row's four.
template <typename Product, int kWord, int Rows, int Vecs>
MEGASEG_INLINE void multiply_lane(const typename Product::Words (&x)[Rows], const typename Product::Element* b,
                                  typename Product::Sum (&acc)[Rows][Vecs], typename Product::Sum (&columns)[Vecs]) {
  MEGASEG_UNROLL
  for (int j = 0; j < Vecs; ++j) {
    const auto column = Product::words(b + j * kLanes * Product::kStep);
    if constexpr (requires { &Product::add_column; }) Product::add_column(columns[j], column);
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) Product::template dot_word<kWord>(acc[i][j], x[i], column);
  }
}

// As multiply(), of whole words by four: k is a multiple of 4 * kStep.
template <typename Product, int Rows, int Vecs>
MEGASEG_INLINE void multiply_lanes(const typename Product::Element* a, ptrdiff_t a_stride,
                                   const typename Product::Element* b, ptrdiff_t b_stride, int k,
                                   typename Product::Sum (&acc)[Rows][Vecs], ptrdiff_t ahead) {
  typename Product::Sum columns[Vecs] = {};
  MEGASEG_NO_UNROLL
  for (int p = 0; p < k; p += 4 * Product::kStep, b += 4 * b_stride) {
    typename Product::Words x[Rows];
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      x[i] = Product::words(a + i * a_stride + p);
      if constexpr (requires { &Product::add_column; }) x[i] = Product::less_128(x[i]);
    }
    if (ahead) __builtin_prefetch(reinterpret_cast<const char*>(b) + ahead);
    multiply_lane<Product, 0>(x, b, acc, columns);
    multiply_lane<Product, 1>(x, b + b_stride, acc, columns);
    multiply_lane<Product, 2>(x, b + 2 * b_stride, acc, columns);
    multiply_lane<Product, 3>(x, b + 3 * b_stride, acc, columns);
  }
  if constexpr (requires { &Product::add_column; }) {
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      MEGASEG_UNROLL
      for (int j = 0; j < Vecs; ++j) acc[i][j] = vsubq_s32(acc[i][j], columns[j]);
    }
  }
}

// Two vectors' lower halves, and their upper halves: rows of sums become squares of two rows and columns, and back.
template <typename T>
MEGASEG_INLINE void exchange_halves(T& a, T& b) {
  const auto x = reinterpret_cast<int64x2_t>(a);
  const auto y = reinterpret_cast<int64x2_t>(b);
  a = reinterpret_cast<T>(vzip1q_s64(x, y));
  b = reinterpret_cast<T>(vzip2q_s64(x, y));
}

// Words k and k + 1 of four columns, two columns a vector.
template <typename Product, int Rows, int Vecs>
MEGASEG_INLINE void multiply_two(const typename Product::Words (&x)[(Rows + 1) / 2][2], int words,
                                 const typename Product::Element* b, ptrdiff_t b_stride,
                                 typename Product::Sum (&acc)[Rows + Rows % 2][Vecs]) {
  using Words = typename Product::Words;
  MEGASEG_UNROLL
  for (int j = 0; j < Vecs; ++j) {
    const auto first = reinterpret_cast<int32x4_t>(Product::words(b + j * kLanes * Product::kStep));
    const auto second = reinterpret_cast<int32x4_t>(Product::words(b + b_stride + j * kLanes * Product::kStep));
    const auto left = reinterpret_cast<Words>(vzip1q_s32(first, second));
    const auto right = reinterpret_cast<Words>(vzip2q_s32(first, second));
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; i += 2) {
      Product::dot_pairs(acc[i][j], x[i / 2][words], left);
      Product::dot_pairs(acc[i + 1][j], x[i / 2][words], right);
    }
  }
}

// multiply_lanes() by pairs of rows; the partner of a last odd row is zeros.
template <typename Product, int Rows, int Vecs>
MEGASEG_INLINE void multiply_pairs(const typename Product::Element* a, ptrdiff_t a_stride,
                                   const typename Product::Element* b, ptrdiff_t b_stride, int k,
                                   typename Product::Sum (&sums)[Rows][Vecs], ptrdiff_t ahead) {
  typename Product::Sum acc[Rows + Rows % 2][Vecs] = {};
  __builtin_memcpy(acc, sums, sizeof sums);
  const auto exchange_all = [&] {
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; i += 2) {
      MEGASEG_UNROLL
      for (int j = 0; j < Vecs; ++j) exchange_halves(acc[i][j], acc[i + 1][j]);
    }
  };
  exchange_all();
  MEGASEG_NO_UNROLL
  for (int p = 0; p < k; p += 4 * Product::kStep, b += 4 * b_stride) {
    typename Product::Words x[(Rows + 1) / 2][2] = {};
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) x[i / 2][i % 2] = Product::words(a + i * a_stride + p);
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; i += 2) exchange_halves(x[i / 2][0], x[i / 2][1]);
    if (ahead) __builtin_prefetch(reinterpret_cast<const char*>(b) + ahead);
    multiply_two<Product, Rows, Vecs>(x, 0, b, b_stride, acc);
    multiply_two<Product, Rows, Vecs>(x, 1, b + 2 * b_stride, b_stride, acc);
  }
  exchange_all();
  __builtin_memcpy(sums, acc, sizeof sums);
}

// As in csrc/cpu/tile.h.
template <typename Product, int Rows, int Vecs>
MEGASEG_INLINE void multiply(const typename Product::Element* a, ptrdiff_t a_stride, const typename Product::Element* b,
                             ptrdiff_t b_stride, int k, typename Product::Sum (&acc)[Rows][Vecs], ptrdiff_t ahead = 0) {
  constexpr int kStep = Product::kStep;
  const int whole = k / (4 * kStep) * (4 * kStep);
  if constexpr (requires { &Product::dot_pairs; }) {
    multiply_pairs<Product>(a, a_stride, b, b_stride, whole, acc, ahead);
  } else {
    multiply_lanes<Product>(a, a_stride, b, b_stride, whole, acc, ahead);
  }
  b += whole / kStep * b_stride;
  MEGASEG_NO_UNROLL
  for (int p = whole; p < k; p += kStep, b += b_stride) multiply_word<Product>(a + p, a_stride, b, acc);
}

}  // namespace
