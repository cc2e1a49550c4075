// A matrix in another storage type.
#include "cpu/ops.h"

namespace {

template <typename In, typename Out>
MEGASEG_INLINE void convert(const In* in, Out* out, int size) {
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) store(out + i, load(in + i));
  if (i < size) store_partial(out + i, load_partial(in + i, size - i), size - i);
}

#if defined(MEGASEG_VNNI)
// Magnitudes are compared as integers, which order like the floats and put NaN on top: it reaches the scale.
template <typename In>
MEGASEG_INLINE float largest(const In* in, int size) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  __m512i top = _mm512_setzero_si512();
  int i = 0;
  const auto raise = [&](Vec x) { top = _mm512_max_epi32(top, _mm512_and_si512(_mm512_castps_si512(x), magnitude)); };
  for (; i + kLanes <= size; i += kLanes) raise(load(in + i));
  if (i < size) raise(load_partial(in + i, size - i));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(top))));
}

// element = round(x / scale) + 128, scale = largest |x| / 127; returns the scale. Rows too small to divide by are zero.
template <typename In>
MEGASEG_INLINE float quantise(const In* in, std::uint8_t* out, int size) {
  const float top = largest(in, size);
  const bool zero = top < 1e-36F;
  const float scale = zero ? 0.0F : top / 127.0F;
  const float inverse = zero ? 0.0F : 127.0F / top;
  const auto element = [inverse](Vec x) {
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(x * inverse), _mm512_set1_epi32(128)));
  };
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), element(load(in + i)));
  }
  if (i < size) _mm_mask_storeu_epi8(out + i, first_lanes(size - i), element(load_partial(in + i, size - i)));
  return scale;
}
#endif

// The largest magnitude, NaN if there is one: compared as integers, which order like the floats and put NaN on top.
template <typename In>
MEGASEG_INLINE float magnitude(const In* in, int size) {
  IntVec top{};
  const auto raise = [&](Vec x) {
    const IntVec bits = reinterpret_cast<IntVec>(x) & 0x7FFFFFFF;
    top = bits > top ? bits : top;
  };
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) raise(load(in + i));
  if (i < size) raise(load_partial(in + i, size - i));
  std::int32_t most = 0;
  for (int j = 0; j < kLanes; ++j) most = top[j] > most ? top[j] : most;
  float value;
  __builtin_memcpy(&value, &most, sizeof value);
  return value;
}

// element = round(x / scale), scale = largest |x| / kMostInt16; returns the scale.
template <typename In>
MEGASEG_INLINE float quantise(const In* in, std::int16_t* out, int size) {
  using Halves = std::int16_t __attribute__((vector_size(kLanes * 2)));
  constexpr float kMost = megaseg::cpu::kMostInt16;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23 leaves the nearest integer in the low bits
  const float top = magnitude(in, size);
  const bool zero = top < 1e-35F;
  const float inverse = zero ? 0.0F : kMost / top;
  const auto elements = [inverse](Vec x) {
    return __builtin_convertvector(reinterpret_cast<IntVec>(x * inverse + kRound), Halves);
  };
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Halves whole = elements(load(in + i));
    __builtin_memcpy(out + i, &whole, sizeof whole);
  }
  if (i < size) {
    const Halves rest = elements(load_partial(in + i, size - i));
    __builtin_memcpy(out + i, &rest, static_cast<std::size_t>(size - i) * 2);
  }
  return zero ? 0.0F : top / kMost;
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

void cast(const CastArgs& args, int begin, int end) {
  with_type(args.in.type, [&]<typename In>(In) {
#if defined(MEGASEG_VNNI)
    if (args.out.type == Type::int8) {
      for (int r = begin; r < end; ++r) {
        args.out.scale[r] = quantise(row_of<In>(args.in, r), row_of<std::uint8_t>(args.out, r), args.size);
      }
      return;
    }
#endif
    if (args.out.type == Type::int16) {
      for (int r = begin; r < end; ++r) {
        args.out.scale[r] = quantise(row_of<In>(args.in, r), row_of<std::int16_t>(args.out, r), args.size);
      }
      return;
    }
    with_type(args.out.type, [&]<typename Out>(Out) {
      for (int r = begin; r < end; ++r) convert(row_of<In>(args.in, r), row_of<Out>(args.out, r), args.size);
    });
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
