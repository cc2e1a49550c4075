#include "core/weights.h"

#include <algorithm>
#include <stdexcept>

namespace megaseg {
namespace {

double dot(const float* a, const float* b, int count) {
  double total = 0;
  for (int i = 0; i < count; ++i) total += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return total;
}

// W diag(gamma) (I - 1 1^T / C), row by row: applied to x it gives W diag(gamma) (x - mean x).
Buffer centred(const float* weight, const float* gamma, int rows, int size) {
  Buffer out(static_cast<std::size_t>(rows) * static_cast<std::size_t>(size));
  for (std::ptrdiff_t r = 0; r < rows; ++r) {
    const double mean = dot(weight + r * size, gamma, size) / size;
    for (std::ptrdiff_t c = 0; c < size; ++c) {
      const double scaled = static_cast<double>(weight[r * size + c]) * static_cast<double>(gamma[c]);
      out.data()[r * size + c] = static_cast<float>(scaled - mean);
    }
  }
  return out;
}

// out[r] = W[r, :] . x + bias[r]
void project(const float* weight, const float* bias, const float* x, int rows, int size, float* out) {
  for (std::ptrdiff_t r = 0; r < rows; ++r) {
    out[r] = static_cast<float>(dot(weight + r * size, x, size) + static_cast<double>(bias[r]));
  }
}

}  // namespace

std::size_t FoldedQuery::bytes() const {
  std::size_t total = q.bytes();
  for (const Linear& head : key) total += head.bytes();
  for (const Linear& head : value) total += head.bytes();
  return total;
}

Tensor Loader::fetch(const std::string& name, int rows, int columns) const {
  Tensor tensor = source_(name);
  const std::size_t expected = static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  if (tensor.size != expected) {
    throw std::invalid_argument(name + ": expected " + std::to_string(expected) + " values, got " +
                                std::to_string(tensor.size));
  }
  return tensor;
}

Buffer Loader::copy(const std::string& name, int rows, int columns) const {
  const Tensor tensor = fetch(name, rows, columns);
  Buffer buffer(tensor.size);
  std::copy_n(tensor.data, tensor.size, buffer.data());
  return buffer;
}

Norm Loader::norm(const std::string& name) const {
  return {copy(name + ".weight", config_.hidden_size), copy(name + ".bias", config_.hidden_size)};
}

Linear Loader::linear(const std::string& prefix, int n, int k) const {
  const Tensor weight = fetch(prefix + ".weight", n, k);
  const Tensor bias = fetch(prefix + ".bias", n);
  return ops_.pack(weight.data, bias.data, n, k, k);
}

Linear Loader::head() const {
  return linear("head", config_.num_classes, static_cast<int>(config_.modalities.size()) * config_.hidden_size);
}

ShotEncoder Loader::shot_encoder(const std::string& modality, const Buffer& align) const {
  const std::string prefix = "modalities." + modality;
  const auto is_this = [&](const Modality& m) { return m.name == modality; };
  const int width = std::find_if(config_.modalities.begin(), config_.modalities.end(), is_this)->feature_size;
  const int size = config_.hidden_size;
  ShotEncoder encoder{linear(prefix + ".proj", size, width),
                      copy(prefix + ".position.weight", config_.max_length, size), norm(prefix + ".norm"),
                      copy(prefix + ".bottleneck", config_.num_bottleneck, size)};
  for (std::size_t i = 0; i < encoder.bottleneck.size(); ++i) encoder.bottleneck.data()[i] += align.data()[i];
  return encoder;
}

LayerTail Loader::tail(const std::string& prefix) const {
  const int size = config_.hidden_size;
  return {linear(prefix + ".self_attn.out_proj", size, size), norm(prefix + ".norm1"),
          linear(prefix + ".linear1", config_.ffn_size, size), linear(prefix + ".linear2", size, config_.ffn_size),
          norm(prefix + ".norm2")};
}

EncoderLayer Loader::encoder_layer(const std::string& prefix) const {
  const int size = config_.hidden_size;
  const Tensor weight = fetch(prefix + ".self_attn.in_proj_weight", 3 * config_.hidden_size, config_.hidden_size);
  const Tensor bias = fetch(prefix + ".self_attn.in_proj_bias", 3 * config_.hidden_size);
  const std::ptrdiff_t keys = static_cast<std::ptrdiff_t>(size) * size;
  return {ops_.pack(weight.data, bias.data, size, size, size),
          ops_.pack(weight.data + keys, bias.data + size, 2 * size, size, size), tail(prefix)};
}

WindowTables Loader::window_tables(const std::string& prefix, const ShotEncoder& encoder, const Buffer& align,
                                   LayerTail& rest) const {
  const int size = config_.hidden_size;
  const int wide = 3 * size;
  const int length = config_.max_length;
  const Tensor weight = fetch(prefix + ".self_attn.in_proj_weight", 3 * config_.hidden_size, config_.hidden_size);
  const Tensor bias = fetch(prefix + ".self_attn.in_proj_bias", 3 * config_.hidden_size);
  const Buffer scaled = centred(weight.data, encoder.norm.gamma.data(), wide, size);
  WindowTables tables{ops_.pack(scaled.data(), nullptr, wide, size, size),
                      Buffer(static_cast<std::size_t>(length) * static_cast<std::size_t>(wide)),
                      Buffer(static_cast<std::size_t>(wide)),
                      Buffer(static_cast<std::size_t>(config_.num_bottleneck) * static_cast<std::size_t>(wide))};
  Buffer positions(static_cast<std::size_t>(length) * static_cast<std::size_t>(size));
  for (std::ptrdiff_t j = 0; j < length; ++j) {
    const float* slot = align.data() + j * config_.num_bottleneck / length * size;
    const float* position = encoder.position.data() + j * size;
    for (int c = 0; c < size; ++c) positions.data()[j * size + c] = position[c] + slot[c];
  }
  ops_.linear({positions.data(), size}, tables.shot, {tables.position.data(), wide}, length);
  project(weight.data, bias.data, encoder.norm.beta.data(), wide, size, tables.shift.data());
  for (std::ptrdiff_t t = 0; t < config_.num_bottleneck; ++t) {
    project(weight.data, bias.data, encoder.bottleneck.data() + t * size, wide, size,
            tables.bottleneck.data() + t * wide);
  }
  rest = tail(prefix);
  return tables;
}

FoldedQuery Loader::folded_query(const std::string& prefix, LayerTail& rest) const {
  const std::ptrdiff_t size = config_.hidden_size;
  const int c = config_.hidden_size;
  const int d = c / config_.num_heads;
  const Tensor weight = fetch(prefix + ".self_attn.in_proj_weight", 3 * config_.hidden_size, config_.hidden_size);
  const Tensor bias = fetch(prefix + ".self_attn.in_proj_bias", 3 * config_.hidden_size);
  FoldedQuery folded{ops_.pack(weight.data, bias.data, c, c, size), {}, {}};
  for (int h = 0; h < config_.num_heads; ++h) {
    const float* keys = weight.data + (size + static_cast<std::ptrdiff_t>(h) * d) * size;
    folded.key.push_back(ops_.pack(keys, nullptr, c, d, 1, size));
    folded.value.push_back(ops_.pack(keys + size * size, nullptr, d, c, size));
  }
  rest = tail(prefix);
  const Tensor out = fetch(prefix + ".self_attn.out_proj.weight", c, c);
  for (std::ptrdiff_t r = 0; r < size; ++r) {
    rest.out.bias.data()[r] += static_cast<float>(dot(out.data + r * size, bias.data + 2 * size, c));
  }
  return folded;
}

}  // namespace megaseg
