// The first layer's attention of one window and head: queries, keys and values are evaluated from tables as they are
// panels.
#include "cpu/attention.h"
#include "cpu/ops.h"

namespace {

using megaseg::cpu::WindowAttentionArgs;

enum Part { query, key, value };

// A token's query, key or value of one head, by vectors.
struct TableRow {
  HeadRow<float> constant;  // a prefix token's, or a latent's shift
  const float* shot;        // null for a prefix token
  const float* position;
  float inverse_std;

  MEGASEG_INLINE Vec operator()(int i) const {
    if (!shot) return constant(i);
    return (HeadRow<float>{shot, constant.size}(i) + HeadRow<float>{position, constant.size}(i)) * inverse_std +
           constant(i);
  }
};

// Queries, keys and values of a window's tokens.
struct Window {
  const WindowAttentionArgs& args;
  const int* row;
  const float* inverse_std;
  ptrdiff_t column;  // of the head's queries
  ptrdiff_t size;    // of all heads

  MEGASEG_INLINE Window(const WindowAttentionArgs& of, int window, int head)
      : args(of),
        row(of.row + static_cast<ptrdiff_t>(window) * of.length),
        inverse_std(of.inverse_std + static_cast<ptrdiff_t>(window) * of.length),
        column(static_cast<ptrdiff_t>(head) * of.head_size),
        size(static_cast<ptrdiff_t>(of.heads) * of.head_size) {}

  MEGASEG_INLINE TableRow part(Part which, int token) const {
    const ptrdiff_t at = which * size + column;
    if (token < args.prefix) {
      return {{args.prefix_rows + token * 3 * size + at, args.head_size}, nullptr, nullptr, 0};
    }
    const int j = token - args.prefix;
    return {{args.shift + at, args.head_size},
            args.shot + row[j] * 3 * size + at,
            args.position + j * 3 * size + at,
            inverse_std[j]};
  }

  // The row of a token's context.
  MEGASEG_INLINE ptrdiff_t out_row(int window, int token) const {
    if (token < args.prefix) return static_cast<ptrdiff_t>(window) * args.prefix + token;
    return static_cast<ptrdiff_t>(args.windows) * args.prefix + static_cast<ptrdiff_t>(window) * args.length + token -
           args.prefix;
  }
};

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t window_attention_scratch_size(Type type, int tokens, int head_size) {
  return attention_panels_size(type, tokens, head_size) + attention_scratch_size(type, head_size);
}

void window_attention(const WindowAttentionArgs& args, int window, int head, void* scratch) {
  const int tokens = args.prefix + args.length;
  const Window from(args, window, head);
  const auto part = [&](Part which) { return [&, which](int t) { return from.part(which, t); }; };
  with_product(args.out.type, [&]<typename Product>(Product) {
    const Panels<Product> panels(scratch, tokens, args.head_size);
    fill_panels(part(key), part(value), 0, tokens, panels);
    attend_all(
        part(query),
        [&](int t) { return row_of<typename Product::Element>(args.out, from.out_row(window, t)) + from.column; },
        tokens, tokens, args.scale, panels,
        static_cast<std::byte*>(scratch) + Panels<Product>::bytes(tokens, args.head_size));
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
