#include "cpu/normalise.h"
#include "cpu/ops.h"

namespace megaseg::cpu::MEGASEG_TARGET {

void layer_norm(const LayerNormArgs& args, int begin, int end) {
  for (ptrdiff_t r = begin; r < end; ++r) {
    normalise(args.in + r * args.in_stride, args.gamma, args.beta, args.out + r * args.out_stride, args.size, args.eps);
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
