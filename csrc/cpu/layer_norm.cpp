#include "cpu/normalise.h"
#include "cpu/ops.h"

namespace megaseg::cpu::MEGASEG_TARGET {

void layer_norm(const LayerNormArgs& args, int begin, int end) {
  with_type(args.in.type, [&]<typename In>(In) {
    with_type(args.out.type, [&]<typename Out>(Out) {
      for (int r = begin; r < end; ++r) {
        const Row<In> in{row_of<In>(args.in, r)};
        normalise(in, moments_of(in, args.size, args.eps), args.gamma, args.beta, row_of<Out>(args.out, r), args.size);
      }
    });
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
