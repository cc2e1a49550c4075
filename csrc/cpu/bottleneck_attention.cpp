// Softmax attention over two key sets, bottleneck tokens and latents, that stand apart in memory.
#include "cpu/attention.h"
#include "cpu/ops.h"

namespace {

// The row of token t of sequence b, when a matrix holds all bottleneck tokens before all latents.
MEGASEG_INLINE ptrdiff_t token_row(int batch, int b, int t, int bottlenecks, int latents) {
  if (t < bottlenecks) return static_cast<ptrdiff_t>(b) * bottlenecks + t;
  return static_cast<ptrdiff_t>(batch) * bottlenecks + static_cast<ptrdiff_t>(b) * latents + t - bottlenecks;
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t attention_packed_size(int keys, int head_size) { return packed_size(keys, head_size); }

std::size_t attention_scratch_size(int head_size) { return QueryBlock::scratch_size(head_size); }

void attention_pack(const AttentionArgs& args, int batch, int head, int key_begin, int key_end, float* packed) {
  const int keys = args.bottlenecks + args.latents;
  const ptrdiff_t column = static_cast<ptrdiff_t>(head) * args.head_size;
  for (int t = key_begin; t < key_end; ++t) {
    const ptrdiff_t at = token_row(args.batch, batch, t, args.bottlenecks, args.latents) * args.kv_stride + column;
    pack_token(args.k + at, args.v + at, t, keys, args.head_size, packed);
  }
  if (key_end == keys) pack_padding(keys, args.head_size, packed);
}

void attention(const AttentionArgs& args, int batch, int head, int query_begin, int query_end, const float* packed,
               float* scratch) {
  const int d = args.head_size;
  const int padded = round_up(d, kLanes);
  const ptrdiff_t column = static_cast<ptrdiff_t>(head) * d;
  QueryBlock block(scratch, d);
  for (int begin = query_begin; begin < query_end; begin += kQueryBlock) {
    const int rows = query_end - begin < kQueryBlock ? query_end - begin : kQueryBlock;
    const auto at = [&](int r) {
      return token_row(args.batch, batch, begin + r, args.query_bottlenecks, args.query_latents);
    };
    for (int r = 0; r < rows; ++r) {
      copy_scaled(args.q + at(r) * args.q_stride + column, block.query + r * d, d, args.scale * kLog2E);
    }
    attend(block, rows, args.bottlenecks + args.latents, d, packed);
    for (int r = 0; r < rows; ++r) {
      copy_scaled(block.out + r * padded, args.out + at(r) * args.out_stride + column, d, 1.0F / sum(block.total[r]));
    }
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
