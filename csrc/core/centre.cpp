#include "core/centre.h"

#include <algorithm>

namespace megaseg {
namespace {

std::size_t lines(std::ptrdiff_t floats) { return static_cast<std::size_t>((floats + 15) / 16 * 16); }

// context_h = W_v,h (sum over tokens of softmax(q_h^T W_k,h token) token)
void attend_folded(Ops& ops, const EncoderShape& shape, const FoldedQuery& folded, const WindowTokens& tokens, Matrix q,
                   Matrix context, float* workspace) {
  const std::ptrdiff_t c = shape.size;
  const std::ptrdiff_t d = shape.head_size();
  const std::ptrdiff_t wide = shape.heads * c;
  const Matrix query{workspace, wide};
  const Matrix sums{workspace + lines(tokens.windows * wide), wide};
  for (int h = 0; h < shape.heads; ++h) {
    ops.linear(q.from(0, h * d), folded.key[static_cast<std::size_t>(h)], query.from(0, h * c), tokens.windows);
  }
  ops.query_attention({query.data, tokens.bottleneck_rows, tokens.latent_rows, sums.data, shape.heads, shape.size,
                       tokens.bottlenecks, tokens.latents, shape.scale()},
                      tokens.windows, sums.data + lines(tokens.windows * wide));
  for (int h = 0; h < shape.heads; ++h) {
    ops.linear(sums.from(0, h * c), folded.value[static_cast<std::size_t>(h)], context.from(0, h * d), tokens.windows);
  }
}

void attend_plain(Ops& ops, const EncoderShape& shape, const Linear& weight, const WindowTokens& tokens, Matrix q,
                  Matrix context, float* workspace) {
  const std::ptrdiff_t c = shape.size;
  const int bottleneck_keys = tokens.windows * tokens.bottlenecks;
  const int latent_keys = tokens.windows * tokens.latents;
  const Matrix kv{workspace, 2 * c};
  ops.linear({tokens.bottleneck_rows, c}, weight, kv, bottleneck_keys);
  ops.linear({tokens.latent_rows, c}, weight, kv.from(bottleneck_keys), latent_keys);
  ops.attention({q.data, kv.data, kv.data + c, context.data, c, 2 * c, c, tokens.windows, shape.head_size(), 0, 1,
                 tokens.bottlenecks, tokens.latents, shape.scale()},
                shape.heads, workspace + lines((bottleneck_keys + latent_keys) * 2 * c));
}

}  // namespace

std::size_t centre_workspace(const Ops& ops, const EncoderShape& shape, int windows, int bottlenecks, int latents) {
  const std::ptrdiff_t c = shape.size;
  const int keys = bottlenecks + latents;
  const std::size_t rows = 2 * lines(windows * c) + lines(static_cast<std::ptrdiff_t>(windows) * shape.ffn);
  const std::size_t folded = 2 * lines(windows * c * shape.heads) + ops.query_attention_scratch(shape.heads, keys);
  const std::size_t plain =
      lines(2 * c * windows * keys) + ops.attention_scratch(windows, shape.heads, shape.head_size(), 1, keys);
  return rows + std::max(folded, plain);
}

void run_centre_layer(Ops& ops, const EncoderShape& shape, const CentreLayer& layer, const WindowTokens& tokens,
                      Matrix centre, float* workspace) {
  const std::ptrdiff_t c = shape.size;
  const std::size_t row = lines(tokens.windows * c);
  const Matrix q{workspace, c};
  const Matrix context{workspace + row, c};
  float* hidden = workspace + 2 * row;
  float* rest = hidden + lines(static_cast<std::ptrdiff_t>(tokens.windows) * shape.ffn);
  ops.linear(centre, layer.folded ? layer.folded->q : layer.q, q, tokens.windows);
  if (layer.folded) {
    attend_folded(ops, shape, *layer.folded, tokens, q, context, rest);
  } else {
    attend_plain(ops, shape, layer.kv, tokens, q, context, rest);
  }
  run_layer_tail(ops, shape, layer.tail, context, centre, tokens.windows, hidden);
}

}  // namespace megaseg
