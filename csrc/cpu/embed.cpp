// Latents before the first layer: projected features plus position plus alignment, normalised.
#include "cpu/normalise.h"
#include "cpu/ops.h"

namespace {

MEGASEG_INLINE void add(const float* a, const float* b, const float* c, float* out, int size) {
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) store(out + i, load(a + i) + load(b + i) + load(c + i));
  for (; i < size; ++i) out[i] = a[i] + b[i] + c[i];
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

void embed(const EmbedArgs& args, int begin, int end) {
  const ptrdiff_t size = args.size;
  for (int r = begin; r < end; ++r) {
    const int position = r % args.length;
    const ptrdiff_t source = args.gathered ? r : args.rows.row(r / args.length, position);
    const ptrdiff_t slot = static_cast<ptrdiff_t>(position) * args.bottlenecks / args.length;
    float* out = args.out + r * size;
    add(args.x + source * size, args.position + position * size, args.align + slot * size, out, args.size);
    const float scale = normalise(out, args.gamma, args.beta, out, args.size, args.eps);
    if (args.inverse_sigma) args.inverse_sigma[r] = scale;
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
