// A model's weights in the form that the executors read, and the loader that packs them tensor by tensor.
#pragma once

#include <string>
#include <vector>

#include "core/ops.h"
#include "megaseg/plan.h"

namespace megaseg {

struct Norm {
  Buffer gamma;
  Buffer beta;

  std::size_t bytes() const { return gamma.bytes() + beta.bytes(); }
};

// What follows a layer's attention: output projection, norms, feed-forward.
struct LayerTail {
  Linear out;
  Norm norm1;
  Linear up;
  Linear down;
  Norm norm2;

  std::size_t bytes() const { return out.bytes() + norm1.bytes() + up.bytes() + down.bytes() + norm2.bytes(); }
};

struct EncoderLayer {
  Linear q;
  Linear kv;  // keys, then values
  LayerTail tail;

  std::size_t bytes() const { return q.bytes() + kv.bytes() + tail.bytes(); }
};

// Pass window_tables. With z = x_i + p_j: W LayerNorm(z) + b = (A_i + B_j) / sigma_ij + c, where
// A_i = W diag(gamma) (x_i - mean x_i), B_j the same of p_j, c = W beta + b. Bottleneck tokens are constants.
struct WindowTables {
  Linear shot;        // x_i -> A_i: W diag(gamma) with every row centred
  Buffer position;    // B_j [length, 3 C]
  Buffer shift;       // c [3 C]
  Buffer bottleneck;  // [bottlenecks, 3 C]

  std::size_t bytes() const { return shot.bytes() + position.bytes() + shift.bytes() + bottleneck.bytes(); }
};

// Pass folded_query. score_t = (W_k,h^T q_h) . h_t, so keys are never formed; values are projected after the weighted
// sum of tokens. Key biases drop out of the softmax; value biases move into the output projection's bias.
struct FoldedQuery {
  Linear q;
  std::vector<Linear> key;    // per head [C, d]: q_h -> W_k,h^T q_h
  std::vector<Linear> value;  // per head [d, C]

  std::size_t bytes() const;
};

struct ShotEncoder {
  Linear projection;
  Buffer position;  // [max_length, C]
  Norm norm;
  Buffer bottleneck;  // bottleneck_m + align [bottlenecks, C]

  std::size_t bytes() const { return projection.bytes() + position.bytes() + norm.bytes() + bottleneck.bytes(); }
};

class Loader {
 public:
  Loader(const Config& config, const TensorSource& source, Ops& ops) : config_(config), source_(source), ops_(ops) {}

  Buffer align() const { return copy("align.weight", config_.num_bottleneck, config_.hidden_size); }
  Linear head() const;
  ShotEncoder shot_encoder(const std::string& modality, const Buffer& align) const;
  EncoderLayer encoder_layer(const std::string& prefix) const;
  // The first unimodal layer with its QKV as tables; `tail` receives the rest of the layer.
  WindowTables window_tables(const std::string& prefix, const ShotEncoder& encoder, const Buffer& align,
                             LayerTail& tail) const;
  FoldedQuery folded_query(const std::string& prefix, LayerTail& tail) const;

 private:
  Tensor fetch(const std::string& name, int rows, int columns = 1) const;
  Buffer copy(const std::string& name, int rows, int columns = 1) const;
  Norm norm(const std::string& name) const;
  Linear linear(const std::string& prefix, int n, int k) const;
  LayerTail tail(const std::string& prefix) const;

  const Config& config_;
  const TensorSource& source_;
  Ops& ops_;
};

}  // namespace megaseg
