// The act and synopsis models: the whole sequence at once, one modality after the other.
#include <algorithm>
#include <cstring>

#include "core/encoder.h"
#include "core/executor.h"

namespace megaseg {
namespace {

struct ModalityPlan {
  int feature_size;
  ShotEncoder encoder;
  std::vector<EncoderLayer> unimodal;
  std::vector<EncoderLayer> fusion;
};

class SequenceExecutor final : public Executor {
 public:
  SequenceExecutor(const Config& config, const TensorSource& tensors, Ops& ops, unsigned passes)
      : config_(config),
        ops_(ops),
        shape_{config.hidden_size, config.ffn_size, config.num_heads, config.layer_norm_eps},
        latent_queries_((passes & passes::latent_queries) != 0) {
    const Loader loader(config, tensors, ops);
    align_ = loader.align();
    for (const Modality& modality : config.modalities) {
      ModalityPlan plan{modality.feature_size, loader.shot_encoder(modality.name, align_), {}, {}};
      const std::string prefix = "modalities." + modality.name;
      for (int i = 0; i < config.num_unimodal_layers; ++i) {
        plan.unimodal.push_back(loader.encoder_layer(prefix + ".unimodal." + std::to_string(i)));
      }
      for (int i = 0; i < config.num_fusion_layers; ++i) {
        plan.fusion.push_back(loader.encoder_layer(prefix + ".fusion." + std::to_string(i)));
      }
      modalities_.push_back(std::move(plan));
    }
    head_ = loader.head();
  }

  std::size_t weight_bytes() const override {
    std::size_t total = align_.bytes() + head_.bytes();
    for (const ModalityPlan& plan : modalities_) {
      total += plan.encoder.bytes();
      for (const EncoderLayer& layer : plan.unimodal) total += layer.bytes();
      for (const EncoderLayer& layer : plan.fusion) total += layer.bytes();
    }
    return total;
  }

  std::size_t workspace_floats(int shots) const override {
    Arena arena;
    lay_out(arena, std::min(shots, config_.max_length));
    return arena.used();
  }

  bool fit(std::size_t floats) override { return workspace_floats(config_.max_length) <= floats; }

  void run(const std::vector<const float*>& features, int shots, const Buffer& workspace, float* logits) override {
    Arena arena(workspace);
    const Layout at = lay_out(arena, shots);
    const std::size_t own = tokens_of(config_.num_bottleneck) * size();
    for (std::size_t m = 0; m < modalities_.size(); ++m) {
      const Tokens tokens{at.tokens[m] + at.front - own, 1, config_.num_bottleneck, shots};
      encode(modalities_[m], features[m], tokens, at);
      std::memcpy(at.bottlenecks + m * own, tokens.rows, own * sizeof(float));
    }
    const std::size_t width = modalities_.size() * size();
    for (std::size_t m = 0; m < modalities_.size(); ++m) {
      std::memcpy(at.tokens[m], at.bottlenecks, at.front * sizeof(float));
      fuse(modalities_[m], {at.tokens[m], 1, all_bottlenecks(), shots}, at);
      for (std::ptrdiff_t i = 0; i < shots; ++i) {
        std::memcpy(at.fused + static_cast<std::size_t>(i) * width + m * size(),
                    at.tokens[m] + at.front + static_cast<std::size_t>(i) * size(), size() * sizeof(float));
      }
    }
    ops_.linear({at.fused, static_cast<std::ptrdiff_t>(width)}, head_, {logits, config_.num_classes}, shots);
  }

 private:
  struct Layout {
    std::size_t front;           // floats before a modality's latents: room for every modality's bottleneck tokens
    std::vector<float*> tokens;  // per modality [M * bottlenecks + shots, C]
    float* bottlenecks;          // [M * bottlenecks, C] after the unimodal layers
    float* fused;                // [shots, M * C]
    float* layer;                // an encoder layer's own; projected features before the first
  };

  std::size_t size() const { return static_cast<std::size_t>(config_.hidden_size); }
  static std::size_t tokens_of(int count) { return static_cast<std::size_t>(count); }
  int all_bottlenecks() const { return static_cast<int>(modalities_.size()) * config_.num_bottleneck; }

  Layout lay_out(Arena& arena, int shots) const {
    const std::size_t front = tokens_of(all_bottlenecks()) * size();
    const std::size_t latents = tokens_of(shots) * size();
    Layout at{front, {}, nullptr, nullptr, nullptr};
    for (std::size_t m = 0; m < modalities_.size(); ++m) at.tokens.push_back(arena.take(front + latents));
    at.bottlenecks = arena.take(front);
    at.fused = arena.take(modalities_.size() * latents);
    const Tokens longest{nullptr, 1, all_bottlenecks(), shots};
    at.layer = arena.take(std::max(latents, encoder_workspace(ops_, shape_, longest)));
    return at;
  }

  void encode(const ModalityPlan& plan, const float* features, const Tokens& tokens, const Layout& at) {
    const std::ptrdiff_t c = config_.hidden_size;
    const ShotEncoder& encoder = plan.encoder;
    ops_.linear({features, plan.feature_size}, encoder.projection, {at.layer, c}, tokens.latents);
    float* latents = tokens.rows + tokens.latent_begin() * c;
    ops_.embed({at.layer,
                encoder.position.data(),
                align_.data(),
                encoder.norm.gamma.data(),
                encoder.norm.beta.data(),
                latents,
                nullptr,
                {},
                true,
                tokens.latents,
                config_.num_bottleneck,
                config_.hidden_size,
                shape_.eps},
               tokens.latents);
    std::memcpy(tokens.rows, encoder.bottleneck.data(), encoder.bottleneck.bytes());
    for (const EncoderLayer& layer : plan.unimodal) run_encoder_layer(ops_, shape_, layer, tokens, false, at.layer);
  }

  void fuse(const ModalityPlan& plan, const Tokens& tokens, const Layout& at) {
    for (const EncoderLayer& layer : plan.fusion) {
      const bool last = &layer == &plan.fusion.back();
      run_encoder_layer(ops_, shape_, layer, tokens, last && latent_queries_, at.layer);
    }
  }

  const Config& config_;
  Ops& ops_;
  EncoderShape shape_;
  bool latent_queries_;
  Buffer align_;
  std::vector<ModalityPlan> modalities_;
  Linear head_;
};

}  // namespace

std::unique_ptr<Executor> make_sequence_executor(const Config& config, const TensorSource& tensors, Ops& ops,
                                                 unsigned passes) {
  return std::make_unique<SequenceExecutor>(config, tensors, ops, passes);
}

}  // namespace megaseg
