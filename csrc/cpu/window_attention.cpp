// The first layer's attention of one window and head: queries, keys and values are evaluated from tables as they are
// packed.
#include "cpu/attention.h"
#include "cpu/ops.h"

namespace {

using megaseg::cpu::WindowAttentionArgs;

// out[i] = (shot[i] + position[i]) * scale + shift[i]
MEGASEG_INLINE void evaluate(const float* shot, const float* position, const float* shift, float scale, float* out,
                             int size) {
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    store(out + i, (load(shot + i) + load(position + i)) * scale + load(shift + i));
  }
  for (; i < size; ++i) out[i] = (shot[i] + position[i]) * scale + shift[i];
}

// Queries (part 0), keys (1) or values (2) of latent j, or a pointer to those of a bottleneck token.
MEGASEG_INLINE const float* token_part(const WindowAttentionArgs& args, int window, int head, int token, int part,
                                       float* out) {
  const ptrdiff_t size = static_cast<ptrdiff_t>(args.heads) * args.head_size;
  const ptrdiff_t column = part * size + static_cast<ptrdiff_t>(head) * args.head_size;
  if (token < args.bottlenecks) return args.bottleneck + token * 3 * size + column;
  const int j = token - args.bottlenecks;
  evaluate(args.shot + args.rows.row(window, j) * 3 * size + column, args.position + j * 3 * size + column,
           args.shift + column, args.inverse_sigma[static_cast<ptrdiff_t>(window) * args.length + j], out,
           args.head_size);
  return out;
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t window_attention_scratch_size(int tokens, int head_size) {
  return packed_size(tokens, head_size) + QueryBlock::scratch_size(head_size) + 2 * static_cast<std::size_t>(head_size);
}

void window_attention(const WindowAttentionArgs& args, int window, int head, float* scratch) {
  const int d = args.head_size;
  const int padded = round_up(d, kLanes);
  const int tokens = args.bottlenecks + args.length;
  float* packed = scratch;
  float* rest = packed + packed_size(tokens, d);
  float* pair = rest + QueryBlock::scratch_size(d);  // a key and a value
  for (int t = 0; t < tokens; ++t) {
    const float* k = token_part(args, window, head, t, 1, pair);
    const float* v = token_part(args, window, head, t, 2, pair + d);
    pack_token(k, v, t, tokens, d, packed);
  }
  pack_padding(tokens, d, packed);
  QueryBlock block(rest, d);
  for (int begin = 0; begin < tokens; begin += kQueryBlock) {
    const int rows = tokens - begin < kQueryBlock ? tokens - begin : kQueryBlock;
    for (int r = 0; r < rows; ++r) {
      copy_scaled(token_part(args, window, head, begin + r, 0, pair), block.query + r * d, d, args.scale * kLog2E);
    }
    attend(block, rows, tokens, d, packed);
    for (int r = 0; r < rows; ++r) {
      const int t = begin + r;
      const ptrdiff_t row = t < args.bottlenecks
                                ? static_cast<ptrdiff_t>(window) * args.bottlenecks + t
                                : static_cast<ptrdiff_t>(args.windows) * args.bottlenecks +
                                      static_cast<ptrdiff_t>(window) * args.length + t - args.bottlenecks;
      copy_scaled(block.out + r * padded, args.out + (row * args.heads + head) * d, d, 1.0F / sum(block.total[r]));
    }
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
