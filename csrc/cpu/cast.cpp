// A matrix in another storage type.
#include "cpu/quantise.h"

namespace {

template <typename In, typename Out>
MEGASEG_INLINE void convert(const In* in, Out* out, int size) {
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) store(out + i, load(in + i));
  if (i < size) store_partial(out + i, load_partial(in + i, size - i), size - i);
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

void cast(const CastArgs& args, int begin, int end) {
  with_type(args.in.type, [&]<typename In>(In) {
#if defined(MEGASEG_INT8)
    if (args.out.type == Type::int8) {
      for (int r = begin; r < end; ++r) {
        quantise(row_of<In>(args.in, r), row_of<std::uint8_t>(args.out, r), grids_at(args.out, r), args.size);
      }
      return;
    }
#endif
    if (args.out.type == Type::int16) {
      for (int r = begin; r < end; ++r) {
        quantise(row_of<In>(args.in, r), row_of<std::int16_t>(args.out, r), grids_at(args.out, r), args.size);
      }
      return;
    }
    with_type(args.out.type, [&]<typename Out>(Out) {
      for (int r = begin; r < end; ++r) convert(row_of<In>(args.in, r), row_of<Out>(args.out, r), args.size);
    });
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
