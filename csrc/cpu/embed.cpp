// Latents before the first layer: projected features plus position plus alignment, normalised.
#include "cpu/normalise.h"
#include "cpu/ops.h"

namespace megaseg::cpu::MEGASEG_TARGET {

void embed(const EmbedArgs& args, int begin, int end) {
  const ptrdiff_t size = args.size;
  for (int r = begin; r < end; ++r) {
    const SumRow row{args.x + (args.row ? args.row[r] : r) * size, args.position + args.place[r] * size,
                     args.align + args.slot[r] * size};
    const Moments moments = moments_of(row, args.size, args.eps);
    if (args.inverse_std) args.inverse_std[r] = moments.inverse_std;
    if (!args.out.data) continue;
    with_type(args.out.type, [&]<typename Out>(Out) {
      normalise(row, moments, args.gamma, args.beta, row_of<Out>(args.out, r), args.size);
    });
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
