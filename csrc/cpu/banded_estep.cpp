// E-step of the synchronisation (supplementary, Eq. 2): similarity, band and threshold while a row of shots is read
// once.
#include "cpu/ops.h"
#include "cpu/tile.h"

namespace {

using megaseg::cpu::BandedEstepArgs;

// A tile of similarities. Both matrices are read along their rows, as they are: the band is followed to four sentences,
// where panels would round it up to a vector.
#if defined(MEGASEG_AVX512)
constexpr int kTileShots = 6;
#else
constexpr int kTileShots = 3;
#endif
constexpr int kTileSentences = 4;
constexpr int kColumns = 64;  // sentences whose similarities wait for the threshold together: bits of a word
constexpr int kRow = kColumns + kTileSentences;  // a tile writes four sums, also where it has fewer sentences

struct Range {
  int begin;
  int end;  // exclusive; not above begin: nothing
};

// The sentences j with |shot * L_syn - j * L_sh| < reach.
MEGASEG_INLINE Range band_of(const BandedEstepArgs& args, int shot) {
  const std::int64_t at = std::int64_t{shot} * args.sentence_count;
  const std::int64_t end = (at + args.reach - 1) / args.shot_count + 1;
  return {at < args.reach ? 0 : static_cast<int>((at - args.reach) / args.shot_count + 1),
          static_cast<int>(end < args.sentence_count ? end : args.sentence_count)};
}

// Lane i of the result, i < 4, is the sum of m[i]: the same tree of additions for each.
MEGASEG_INLINE Vec sums(Vec (&m)[kTileSentences]) {
  constexpr auto kIndex = std::make_integer_sequence<int, kLanes>();
  exchange<1>(m[0], m[1], kIndex);
  exchange<1>(m[2], m[3], kIndex);
  Vec a = m[0] + m[1];
  Vec b = m[2] + m[3];
  exchange<2>(a, b, kIndex);
  a += b;
  if constexpr (kLanes > 8) a += swap_lanes<8>(a, kIndex);
  if constexpr (kLanes > 4) a += swap_lanes<4>(a, kIndex);
  return a;
}

// Rows of one kind of a tile.
template <typename Element>
struct Operand {
  const Element* data;
  ptrdiff_t stride;
};

// to[i, 0:4] = u_i . v_j, rows of `to` kRow apart; beyond Sentences zeros. Meanwhile rows `ahead` come closer.
template <typename Product, int Shots, int Sentences>
void tile(Operand<typename Product::Element> u, Operand<typename Product::Element> v, int size, float* to,
          const typename Product::Element* ahead, ptrdiff_t ahead_next) {
  using Element = typename Product::Element;
  static constexpr int kWidth = Product::kStep * kLanes;
  Vec acc[Shots][kTileSentences] = {};
  const auto step = [&](const auto& words, int p) {
    decltype(Product::words(u.data)) y[Sentences];
    MEGASEG_UNROLL
    for (int j = 0; j < Sentences; ++j) y[j] = words(v.data + j * v.stride + p);
    MEGASEG_UNROLL
    for (int i = 0; i < Shots; ++i) {
      const auto x = words(u.data + i * u.stride + p);
      MEGASEG_UNROLL
      for (int j = 0; j < Sentences; ++j) Product::dot(acc[i][j], x, y[j]);
    }
  };
  int p = 0;
  MEGASEG_NO_UNROLL
  for (; p + kWidth <= size; p += kWidth) {
    __builtin_prefetch(ahead + p, 0, 2);
    __builtin_prefetch(ahead + ahead_next + p, 0, 2);
    step([](const Element* from) { return Product::words(from); }, p);
  }
  if (p < size) {
    const auto bytes = static_cast<std::size_t>(size - p) * sizeof(Element);
    step(
        [bytes](const Element* from) {
          Element rest[kWidth] = {};
          __builtin_memcpy(rest, from, bytes);
          return Product::words(rest);
        },
        p);
  }
  MEGASEG_UNROLL
  for (int i = 0; i < Shots; ++i) {
    const Vec row = sums(acc[i]);
    __builtin_memcpy(to + i * kRow, &row, kTileSentences * sizeof(float));
  }
}

template <typename Product, int Shots>
MEGASEG_INLINE void tile(int sentences, Operand<typename Product::Element> u, Operand<typename Product::Element> v,
                         int size, float* to, const typename Product::Element* ahead, ptrdiff_t ahead_next) {
  switch (sentences) {
    case 1: return tile<Product, Shots, 1>(u, v, size, to, ahead, ahead_next);
    case 2: return tile<Product, Shots, 2>(u, v, size, to, ahead, ahead_next);
    case 3: return tile<Product, Shots, 3>(u, v, size, to, ahead, ahead_next);
    default: return tile<Product, Shots, 4>(u, v, size, to, ahead, ahead_next);
  }
}

MEGASEG_INLINE void store_booleans(std::uint8_t* to, std::uint64_t bits, int count) {
#if defined(MEGASEG_AVX512)
  const __mmask64 mask = ~std::uint64_t{0} >> (kColumns - count);
  _mm512_mask_storeu_epi8(to, mask, _mm512_maskz_set1_epi8(bits, 1));
#else
  for (int j = 0; j < count; ++j) to[j] = static_cast<std::uint8_t>(bits >> j & 1);
#endif
}

// W[shot, column:column + kColumns] from its similarities; false if one within the band is not finite.
MEGASEG_INLINE bool decide(const BandedEstepArgs& args, int shot, int column, const float* similarity) {
  Range band = band_of(args, shot);
  band.begin = band.begin > column ? band.begin - column : 0;
  band.end = band.end - column < kColumns ? band.end - column : kColumns;
  if (band.begin >= band.end) return true;
  const std::uint64_t inside = (~std::uint64_t{0} >> (kColumns - band.end)) & (~std::uint64_t{0} << band.begin);
  std::uint64_t ones = 0;
  std::uint64_t finite = 0;
  for (int j = 0; j < band.end; j += kLanes) {
    const Vec m = load(similarity + j);
    ones |= at_least(m, splat(args.threshold)) << j;
    finite |= at_least(m * 0.0F, Vec{}) << j;
  }
  ones &= inside;
  const int left = args.sentence_count - column;
  const int count = left < kColumns ? left : kColumns;
  std::uint8_t* row = args.out + shot * args.out_stride;
  if (args.as_bits) {
    std::uint8_t bytes[kColumns / 8];
    for (int i = 0; i < kColumns / 8; ++i) bytes[i] = static_cast<std::uint8_t>(ones >> 8 * i);
    __builtin_memcpy(row + column / 8, bytes, static_cast<std::size_t>((count + 7) / 8));
  } else {
    store_booleans(row + column, ones, count);
  }
  return (~finite & inside) == 0;
}

// Rows [shot, shot + Shots) of W, zero before; `next` rows after them are asked for.
template <typename Product, int Shots>
MEGASEG_INLINE bool block(const BandedEstepArgs& args, int shot, int next, float* similarity) {
  using Element = typename Product::Element;
  const Range all{band_of(args, shot).begin, band_of(args, shot + Shots - 1).end};  // both edges ascend
  const Operand<Element> u{row_of<Element>(args.shots, shot), args.shots.stride};
  bool finite = true;
  for (int column = all.begin / kColumns * kColumns; column < all.end; column += kColumns) {
    const int begin = all.begin > column ? all.begin : column;
    const int count = (all.end < column + kColumns ? all.end : column + kColumns) - begin;
    const int tiles = (count + kTileSentences - 1) / kTileSentences;  // of equal width, give or take one
    for (int t = 0; t < tiles; ++t) {
      const int from = begin + count * t / tiles;
      const int ahead = next * t / tiles;
      const int further = next * (t + 1) / tiles - 1;
      tile<Product, Shots>(begin + count * (t + 1) / tiles - from, u,
                           {row_of<Element>(args.sentences, from), args.sentences.stride}, args.size,
                           similarity + from - column, u.data + (Shots + ahead) * u.stride,
                           further > ahead ? (further - ahead) * u.stride : 0);
    }
    for (int i = 0; i < Shots; ++i) finite &= decide(args, shot + i, column, similarity + i * kRow);
  }
  return finite;
}

template <typename Product>
bool run(const BandedEstepArgs& args, int begin, int end) {
  float similarity[kTileShots * kRow] = {};
  const int bytes = args.as_bits ? (args.sentence_count + 7) / 8 : args.sentence_count;
  for (int i = begin; i < end; ++i) {
    __builtin_memset(args.out + i * args.out_stride, 0, static_cast<std::size_t>(bytes));
  }
  bool finite = true;
  int i = begin;
  for (; i + kTileShots <= end; i += kTileShots) {
    const int left = end - i - kTileShots;
    finite &= block<Product, kTileShots>(args, i, left < kTileShots ? left : kTileShots, similarity);
  }
  for (; i < end; ++i) finite &= block<Product, 1>(args, i, 0, similarity);
  return finite;
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

bool banded_estep(const BandedEstepArgs& args, int begin, int end) {
#if defined(MEGASEG_BF16)
  if (args.shots.type == Type::bfloat16) return run<BFloat16Pairs>(args, begin, end);
#endif
  return run<Float32>(args, begin, end);
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
