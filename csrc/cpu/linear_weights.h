// Weights in ten bits, for products that are bound by reading them: |q| <= 511 steps of a scale per column, kept as
// q >> 2 in a byte and q & 3 in two bits, and expanded to int16 a block at a time. Rows are int16 with a scale each
// (csrc/cpu/cast.cpp), sums exact in int32 over a block of k, then float32: the same bits on every target.
#pragma once

#include "cpu/linear.h"

namespace {

using Halves = std::int16_t __attribute__((vector_size(kLanes * 4)));
using HalfBytes = std::int8_t __attribute__((vector_size(kLanes * 2)));
constexpr int kMostWeight = 511;
// Elements of k whose sum is exact: 128 * 8191 * 511 < 2^31. Expanded, a panel's block takes 16 KiB with AVX-512.
constexpr int kWeightBlock = 128;

struct Int16 {
  using Element = std::int16_t;
  using Sum = IntVec;
  using Scalar = float;
  static constexpr int kStep = 2;

  MEGASEG_INLINE static Halves word(const std::int16_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return reinterpret_cast<Halves>(pair - IntVec{});
  }
  MEGASEG_INLINE static Halves words(const std::int16_t* p) {
    Halves v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  MEGASEG_INLINE static void dot(IntVec& sum, Halves x, Halves w) {
#if defined(MEGASEG_VNNI)
    sum = reinterpret_cast<IntVec>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(x),
                                                       reinterpret_cast<__m512i>(w)));
#elif defined(MEGASEG_AVX512)
    sum += reinterpret_cast<IntVec>(_mm512_madd_epi16(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w)));
#elif defined(MEGASEG_AVX2)
    sum += reinterpret_cast<IntVec>(_mm256_madd_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w)));
#elif defined(MEGASEG_NEON)  // columns' even elements lie before their odd ones: element_at()
    sum = vmlal_high_laneq_s16(vmlal_laneq_s16(sum, vget_low_s16(w), x, 0), w, x, 1);
#else
    for (int i = 0; i < kLanes; ++i) sum[i] += x[2 * i] * w[2 * i] + x[2 * i + 1] * w[2 * i + 1];
#endif
  }
};

// A panel is a row of groups: 8 vectors of upper bytes, then a vector of int16 whose bits 2 j and 2 j + 1 belong to
// vector j. Vectors are in the order that products read them: [k / 2, kPanel, 2].
constexpr int kGroupVecs = 8;
constexpr int kVecWeights = 2 * kLanes;
constexpr int kGroupBytes = kGroupVecs * kVecWeights + 2 * kVecWeights;
constexpr int kGroupDepth = 2 * kGroupVecs / kTileVecs;  // elements of k
static_assert(kWeightBlock % kGroupDepth == 0 && kGridSize % kWeightBlock == 0);

constexpr ptrdiff_t weight_panel_bytes(int k) { return static_cast<ptrdiff_t>(k / kGroupDepth) * kGroupBytes; }

// A vector of upper bytes, sign-extended. (GCC 12 does not find the instruction by itself.)
MEGASEG_INLINE Halves upper_bytes(const char* p) {
#if defined(MEGASEG_AVX512)
  return reinterpret_cast<Halves>(_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(MEGASEG_AVX2)
  return reinterpret_cast<Halves>(_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  HalfBytes bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, Halves);
#endif
}

// Elements [0, k) of a panel's part, whole groups of it: to [k / 2, kPanel, 2].
MEGASEG_INLINE void expand_weights(const char* from, int k, std::int16_t* to) {
  for (int i = 0; i < k; i += kGroupDepth, from += kGroupBytes, to += kGroupVecs * kVecWeights) {
    Halves low;
    __builtin_memcpy(&low, from + kGroupVecs * kVecWeights, sizeof low);
    MEGASEG_UNROLL
    for (int j = 0; j < kGroupVecs; ++j) {
      const Halves q = (upper_bytes(from + j * kVecWeights) << 2) | ((low >> (2 * j)) & 3);
      __builtin_memcpy(to + j * kVecWeights, &q, sizeof q);
    }
  }
}

// Where a vector has element k of a column: neighbours in k side by side, as instructions add them.
constexpr int element_at(int k, int column) {
#if defined(MEGASEG_NEON)
  return k % 2 * kLanes + column % kLanes;
#else
  return column % kLanes * 2 + k % 2;
#endif
}

// One weight, into groups that are zeros; `column` within the panel.
inline void put_weight(char* panel, int k, int column, int q) {
  const int vec = k / 2 * kTileVecs + column / kLanes;
  const int at = element_at(k, column);
  const int j = vec % kGroupVecs;
  char* group = panel + static_cast<ptrdiff_t>(vec / kGroupVecs) * kGroupBytes;
  group[j * kVecWeights + at] = static_cast<char>(q >> 2);
  char* low = group + kGroupVecs * kVecWeights + 2 * at + j / 4;  // little-endian
  *low = static_cast<char>(*low | (q & 3) << (j % 4 * 2));
}

// Panels, then bias [n] and scale [n]; n and k padded by zeros.
template <>
struct Packed<Int16> {
  static constexpr int kColumns = kPanel;

  Packed(void* data, int n_, int k_)
      : base(static_cast<char*>(data)), n(round_up(n_, kPanel)), k(round_up(k_, kGroupDepth)) {}
  Packed(const LinearArgs& args) : Packed(const_cast<void*>(args.weight), args.n, args.k) {}  // NOLINT: a view converts

  ptrdiff_t panels_size() const { return whole_lines(n / kPanel * weight_panel_bytes(k)); }
  ptrdiff_t column_size() const { return whole_lines(static_cast<ptrdiff_t>(n) * 4); }
  ptrdiff_t size() const { return panels_size() + 2 * column_size(); }

  char* panel(int column) const { return base + column / kPanel * weight_panel_bytes(k); }
  float* bias() const { return reinterpret_cast<float*>(base + panels_size()); }
  float* scale() const { return reinterpret_cast<float*>(base + panels_size() + column_size()); }

  char* base;
  int n;
  int k;
};

}  // namespace
