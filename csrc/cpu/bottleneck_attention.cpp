// Softmax attention over two key sets, prefix tokens and latents, that stand apart in memory.
#include "cpu/attention.h"
#include "cpu/attention_int8.h"
#include "cpu/ops.h"

namespace {

// The row of token t of sequence b, when a matrix holds all prefix tokens before all latents.
MEGASEG_INLINE ptrdiff_t token_row(int batch, int b, int t, int prefix, const int* begin) {
  if (t < prefix) return static_cast<ptrdiff_t>(b) * prefix + t;
  return static_cast<ptrdiff_t>(batch) * prefix + begin[b] + t - prefix;
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t attention_panels_size(Type type, int keys, int head_size) {
  std::size_t bytes = 0;
#if defined(MEGASEG_INT8)
  if (type == Type::int8) return ByteBlock::bytes(keys, head_size);
#endif
  with_product(type, [&]<typename Product>(Product) { bytes = Panels<Product>::bytes(keys, head_size); });
  return bytes;
}

std::size_t attention_scratch_size(Type type, int head_size) {
  std::size_t bytes = 0;
#if defined(MEGASEG_INT8)
  if (type == Type::int8) return ByteQueries::bytes(head_size);
#endif
  with_product(type, [&]<typename Product>(Product) { bytes = QueryBlock<Product>::bytes(head_size); });
  return bytes;
}

void attention_panels(const AttentionArgs& args, int batch, int head, int key_begin, int key_end, void* panels) {
  const ptrdiff_t column = static_cast<ptrdiff_t>(head) * args.head_size;
  const int keys = args.keys(batch);
  with_product(args.k.type, [&]<typename Product>(Product) {
    using T = typename Product::Element;
    const auto part_of = [&](const ConstRows& rows) {
      return [&](int token) {
        const ptrdiff_t row = token_row(args.batch, batch, token, args.prefix, args.begin);
        return HeadRow<T>{row_of<T>(rows, row) + column, args.head_size};
      };
    };
#if defined(MEGASEG_INT8)
    if (args.product == Type::int8) {
      return fill_blocks(part_of(args.k), part_of(args.v), key_begin, key_end, keys, args.head_size, panels);
    }
#endif
    fill_panels(part_of(args.k), part_of(args.v), key_begin, key_end, Panels<Product>(panels, keys, args.head_size));
  });
}

void attention(const AttentionArgs& args, int batch, int head, int query_begin, int query_end, const void* panels,
               void* scratch) {
  const ptrdiff_t column = static_cast<ptrdiff_t>(head) * args.head_size;
  const int queries = query_end - query_begin;
  const int keys = args.keys(batch);
  void* const read = const_cast<void*>(panels);
  const auto at = [&](int r) {
    return token_row(args.batch, batch, query_begin + r, args.query_prefix, args.query_begin);
  };
  with_product(args.q.type, [&]<typename Product>(Product) {
    using T = typename Product::Element;
    const auto query = [&](int r) { return HeadRow<T>{row_of<T>(args.q, at(r)) + column, args.head_size}; };
    const auto out = [&](int r) { return row_of<T>(args.out, at(r)) + column; };
#if defined(MEGASEG_INT8)
    if (args.product == Type::int8) {
      return attend_all_bytes(query, out, queries, keys, args.head_size, args.scale, read, scratch);
    }
#endif
    attend_all(query, out, queries, keys, args.scale, Panels<Product>(read, keys, args.head_size), scratch);
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
