// Transformer encoder layers over a batch of token sequences.
#pragma once

#include "core/weights.h"

namespace megaseg {

// Sequences of bottleneck tokens and latents: rows [batch * bottlenecks + batch * latents, C], contiguous.
struct Tokens {
  float* rows;
  int batch;
  int bottlenecks;
  int latents;

  int count() const { return batch * (bottlenecks + latents); }
  int latent_begin() const { return batch * bottlenecks; }
};

struct EncoderShape {
  int size;
  int ffn;
  int heads;
  float eps;

  int head_size() const { return size / heads; }
  float scale() const;  // 1 / sqrt(head_size)
};

// Floats that an encoder layer over `tokens` needs beside them.
std::size_t encoder_workspace(const Ops& ops, const EncoderShape& shape, const Tokens& tokens);

// h = LN1(h + attention(h)); h = LN2(h + W2 gelu(W1 h + b1) + b2), in place. With latents_only the bottleneck tokens
// serve as keys and values and keep their old rows.
void run_encoder_layer(Ops& ops, const EncoderShape& shape, const EncoderLayer& layer, const Tokens& tokens,
                       bool latents_only, float* workspace);

// The layer after its attention: out projection of `context` and all that follows, `h` in and out. `hidden` has room
// for rows * ffn floats and may overlap `context`.
void run_layer_tail(Ops& ops, const EncoderShape& shape, const LayerTail& tail, ConstMatrix context, Matrix h, int rows,
                    float* hidden);

}  // namespace megaseg
