#include "core/encoder.h"

#include <algorithm>
#include <cmath>

namespace megaseg {

float EncoderShape::scale() const { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_size()))); }

std::size_t encoder_workspace(const Ops& ops, const EncoderShape& shape, const Tokens& tokens) {
  const int sequence = tokens.bottlenecks + tokens.latents;
  const std::size_t scratch = ops.attention_scratch(tokens.batch, shape.heads, shape.head_size(), sequence, sequence);
  const auto rows = static_cast<std::size_t>(tokens.count());
  const auto qkv = 3 * rows * static_cast<std::size_t>(shape.size);
  return std::max(qkv + scratch + 16, rows * static_cast<std::size_t>(shape.ffn));
}

void run_layer_tail(Ops& ops, const EncoderShape& shape, const LayerTail& tail, ConstMatrix context, Matrix h, int rows,
                    float* hidden) {
  const auto normalise = [&](const Norm& norm) {
    ops.layer_norm({h.data, h.stride, norm.gamma.data(), norm.beta.data(), h.data, h.stride, shape.size, shape.eps},
                   rows);
  };
  ops.linear(context, tail.out, h, rows, cpu::Activation::none, &h);
  normalise(tail.norm1);
  const Matrix wide{hidden, shape.ffn};
  ops.linear(h, tail.up, wide, rows, cpu::Activation::gelu);
  ops.linear(wide, tail.down, h, rows, cpu::Activation::none, &h);
  normalise(tail.norm2);
}

void run_encoder_layer(Ops& ops, const EncoderShape& shape, const EncoderLayer& layer, const Tokens& tokens,
                       bool latents_only, float* workspace) {
  const std::ptrdiff_t size = shape.size;
  const int first = latents_only ? tokens.latent_begin() : 0;
  const int rows = tokens.count() - first;
  const Matrix h{tokens.rows, size};
  const Matrix q{workspace, size};
  const Matrix kv{workspace + tokens.count() * size, 2 * size};
  float* scratch = kv.data + (tokens.count() * 2 * size + 15) / 16 * 16;
  ops.linear(h.from(first), layer.q, q, rows);
  ops.linear(h, layer.kv, kv, tokens.count());
  // Each task reads its queries before it writes the same rows and columns: the context replaces them.
  ops.attention(
      {q.data, kv.data, kv.data + size, q.data, size, 2 * size, size, tokens.batch, shape.head_size(),
       latents_only ? 0 : tokens.bottlenecks, tokens.latents, tokens.bottlenecks, tokens.latents, shape.scale()},
      shape.heads, scratch);
  run_layer_tail(ops, shape, layer.tail, q, h.from(first), rows, workspace);
}

}  // namespace megaseg
