// Softmax attention over two key sets, bottleneck tokens and latents, that stand apart in memory.
#include "cpu/attention.h"
#include "cpu/ops.h"

namespace {

// The row of token t of sequence b, when a matrix holds all bottleneck tokens before all latents.
MEGASEG_INLINE ptrdiff_t token_row(int batch, int b, int t, int bottlenecks, const int* begin) {
  if (t < bottlenecks) return static_cast<ptrdiff_t>(b) * bottlenecks + t;
  return static_cast<ptrdiff_t>(batch) * bottlenecks + begin[b] + t - bottlenecks;
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t attention_packed_size(Type type, int keys, int head_size) {
  std::size_t floats = 0;
  with_type(type, [&]<typename T>(T) { floats = Packed<T>::floats(keys, head_size); });
  return 4 * floats;
}

std::size_t attention_scratch_size(Type type, int head_size) {
  std::size_t floats = 0;
  with_type(type, [&]<typename T>(T) { floats = QueryBlock<T>::floats(head_size); });
  return 4 * floats;
}

void attention_pack(const AttentionArgs& args, int batch, int head, int key_begin, int key_end, void* packed) {
  const ptrdiff_t column = static_cast<ptrdiff_t>(head) * args.head_size;
  with_type(args.k.type, [&]<typename T>(T) {
    const auto part_of = [&](const ConstRows& rows) {
      return [&, rows](int token, int i) {
        const ptrdiff_t row = token_row(args.batch, batch, token, args.bottlenecks, args.begin);
        return head_part(row_of<T>(rows, row) + column, i, args.head_size);
      };
    };
    pack<T>(part_of(args.k), part_of(args.v), key_begin, key_end, args.head_size,
            Packed<T>(packed, args.keys(batch), args.head_size));
  });
}

void attention(const AttentionArgs& args, int batch, int head, int query_begin, int query_end, const void* packed,
               void* scratch) {
  const int d = args.head_size;
  const int keys = args.keys(batch);
  const ptrdiff_t column = static_cast<ptrdiff_t>(head) * d;
  with_type(args.q.type, [&]<typename T>(T) {
    const Packed<T> from(const_cast<void*>(packed), keys, d);
    QueryBlock<T> block(scratch, d, args.scale);
    for (int begin = query_begin; begin < query_end; begin += kQueryBlock) {
      const int rows = query_end - begin < kQueryBlock ? query_end - begin : kQueryBlock;
      const auto at = [&](int r) {
        return token_row(args.batch, batch, begin + r, args.query_bottlenecks, args.query_begin);
      };
      for (int r = 0; r < rows; ++r) {
        const T* query = row_of<T>(args.q, at(r)) + column;
        for (int i = 0; i < block.padded; i += kLanes) store(block.query_row(r) + i, head_part(query, i, d));
      }
      attend(block, rows, keys, d, from);
      for (int r = 0; r < rows; ++r) write_head(block, r, d, row_of<T>(args.out, at(r)) + column);
    }
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
