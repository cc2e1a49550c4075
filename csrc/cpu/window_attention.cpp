// The first layer's attention of one window and head: queries, keys and values are evaluated from tables as they are
// packed.
#include "cpu/attention.h"
#include "cpu/ops.h"

namespace {

using megaseg::cpu::WindowAttentionArgs;

enum Part { query, key, value };

// Queries, keys and values of a window's tokens: a head's slice, by vectors, zeros past it.
struct Window {
  const WindowAttentionArgs& args;
  const int* row;
  const float* inverse_sigma;
  ptrdiff_t column;  // of the head's queries
  ptrdiff_t size;    // of all heads

  MEGASEG_INLINE Window(const WindowAttentionArgs& of, int window, int head)
      : args(of),
        row(of.row + static_cast<ptrdiff_t>(window) * of.length),
        inverse_sigma(of.inverse_sigma + static_cast<ptrdiff_t>(window) * of.length),
        column(static_cast<ptrdiff_t>(head) * of.head_size),
        size(static_cast<ptrdiff_t>(of.heads) * of.head_size) {}

  MEGASEG_INLINE Vec part(Part which, int token, int i) const {
    const ptrdiff_t at = which * size + column;
    const auto read = [&](const float* table, ptrdiff_t r) {
      return head_part(table + r * 3 * size + at, i, args.head_size);
    };
    if (token < args.bottlenecks) return read(args.bottleneck, token);
    const int j = token - args.bottlenecks;
    return (read(args.shot, row[j]) + read(args.position, j)) * inverse_sigma[j] + read(args.shift, 0);
  }

  // The row of a token's context.
  MEGASEG_INLINE ptrdiff_t out_row(int window, int token) const {
    if (token < args.bottlenecks) return static_cast<ptrdiff_t>(window) * args.bottlenecks + token;
    return static_cast<ptrdiff_t>(args.windows) * args.bottlenecks + static_cast<ptrdiff_t>(window) * args.length +
           token - args.bottlenecks;
  }
};

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t window_attention_scratch_size(Type type, int tokens, int head_size) {
  return attention_packed_size(type, tokens, head_size) + attention_scratch_size(type, head_size);
}

void window_attention(const WindowAttentionArgs& args, int window, int head, void* scratch) {
  const int tokens = args.bottlenecks + args.length;
  const Window from(args, window, head);
  const auto part = [&](Part which) { return [&, which](int t, int i) { return from.part(which, t, i); }; };
  with_product(args.out.type, [&]<typename Product>(Product) {
    const Packed<Product> packed(scratch, tokens, args.head_size);
    pack(part(key), part(value), 0, tokens, packed);
    attend_all(
        part(query),
        [&](int t) { return row_of<typename Product::Element>(args.out, from.out_row(window, t)) + from.column; },
        tokens, tokens, args.scale, packed,
        static_cast<std::byte*>(scratch) + Packed<Product>::bytes(tokens, args.head_size));
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
