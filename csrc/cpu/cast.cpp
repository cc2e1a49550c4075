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
    with_type(args.out.type, [&]<typename Out>(Out) {
      for (int r = begin; r < end; ++r) convert(row_of<In>(args.in, r), row_of<Out>(args.out, r), args.size);
    });
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
