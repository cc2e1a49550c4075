// The scene model: every shot's centred window, in chunks of neighbouring windows.
#include <algorithm>
#include <cstring>

#include "core/centre.h"
#include "core/executor.h"

namespace megaseg {
namespace {

using cpu::WindowRows;

constexpr int kWindows = 64;  // windows of a chunk: enough rows for every product, few enough for the L3 cache

struct ModalityPlan {
  int feature_size;
  ShotEncoder encoder;
  std::optional<WindowTables> tables;  // replaces the first unimodal layer's q and kv
  LayerTail first_tail;                // that layer's rest
  std::vector<EncoderLayer> unimodal;
  std::vector<EncoderLayer> fusion;
  std::optional<CentreLayer> centre;

  std::size_t bytes() const {
    std::size_t total = encoder.bytes() + first_tail.bytes();
    if (tables) total += tables->bytes();
    for (const EncoderLayer& layer : unimodal) total += layer.bytes();
    for (const EncoderLayer& layer : fusion) total += layer.bytes();
    return total + (centre ? centre->bytes() : 0);
  }
};

std::size_t floats(std::ptrdiff_t count) { return static_cast<std::size_t>(count); }

class SceneExecutor final : public Executor {
 public:
  SceneExecutor(const Config& config, const TensorSource& tensors, Ops& ops, unsigned passes)
      : config_(config),
        ops_(ops),
        shape_{config.hidden_size, config.ffn_size, config.num_heads, config.layer_norm_eps},
        passes_(passes),
        bottlenecks_(static_cast<int>(config.modalities.size()) * config.num_bottleneck) {
    const Loader loader(config, tensors, ops);
    align_ = loader.align();
    for (const Modality& modality : config.modalities) modalities_.push_back(load(loader, modality));
    room_ = modalities_[0].fusion.empty() ? config.num_bottleneck : bottlenecks_;
    head_ = loader.head();
  }

  std::size_t weight_bytes() const override {
    std::size_t total = align_.bytes() + head_.bytes();
    for (const ModalityPlan& plan : modalities_) total += plan.bytes();
    return total;
  }

  std::size_t workspace_floats(int shots) const override {
    Arena arena;
    lay_out(arena, std::min(shots, windows_));
    return arena.used();
  }

  bool fit(std::size_t limit) override {
    while (windows_ > 1 && workspace_floats(windows_) > limit) windows_ = std::max(1, windows_ * 3 / 4);
    return workspace_floats(windows_) <= limit;
  }

  void run(const std::vector<const float*>& features, int shots, const Buffer& workspace, float* logits) override {
    Arena arena(workspace);
    const Layout at = lay_out(arena, std::min(shots, windows_));
    const std::ptrdiff_t width = static_cast<std::ptrdiff_t>(modalities_.size()) * config_.hidden_size;
    for (int first = 0; first < shots; first += windows_) {
      const Chunk chunk{first, std::min(windows_, shots - first), shots};
      for (std::size_t m = 0; m < modalities_.size(); ++m) encode(m, features[m], chunk, at);
      collect_bottlenecks(chunk, at);
      for (std::size_t m = 0; m < modalities_.size(); ++m) fuse(m, chunk, at);
      ops_.linear({at.fused, width}, head_,
                  {logits + static_cast<std::ptrdiff_t>(first) * config_.num_classes, config_.num_classes},
                  chunk.windows);
    }
  }

 private:
  struct Chunk {
    int first;  // centre of the first window
    int windows;
    int shots;
  };

  struct Layout {
    std::vector<float*> tokens;     // per modality [windows * (room_ + length), C]
    std::vector<float*> projected;  // per modality [windows + length - 1, C]: the shots that the chunk's windows see
    std::vector<float*> tables;     // per modality [windows + length - 1, 3 C], with window_tables
    float* bottlenecks;             // [windows, M * bottlenecks, C] after the unimodal layers
    float* fused;                   // [windows, M * C]
    float* inverse_sigma;           // [windows, length]
    float* layer;                   // a layer's own
  };

  bool on(unsigned pass) const { return (passes_ & pass) == pass; }
  int half() const { return config_.max_length / 2; }
  std::ptrdiff_t size() const { return config_.hidden_size; }

  ModalityPlan load(const Loader& loader, const Modality& modality) const {
    const std::string prefix = "modalities." + modality.name;
    const auto layer = [&](const char* stage, int i) { return prefix + "." + stage + "." + std::to_string(i); };
    ModalityPlan plan{modality.feature_size, loader.shot_encoder(modality.name, align_), {}, {}, {}, {}, {}};
    const bool tabled = on(passes::project_once | passes::window_tables) && config_.num_unimodal_layers > 0;
    if (tabled) plan.tables = loader.window_tables(layer("unimodal", 0), plan.encoder, align_, plan.first_tail);
    for (int i = tabled ? 1 : 0; i < config_.num_unimodal_layers; ++i) {
      plan.unimodal.push_back(loader.encoder_layer(layer("unimodal", i)));
    }
    const int last = config_.num_fusion_layers - 1;
    const bool centred = on(passes::centre_queries) && last >= 0;
    for (int i = 0; i < (centred ? last : last + 1); ++i)
      plan.fusion.push_back(loader.encoder_layer(layer("fusion", i)));
    if (!centred) return plan;
    plan.centre.emplace();
    if (on(passes::folded_query)) {
      plan.centre->folded = loader.folded_query(layer("fusion", last), plan.centre->tail);
    } else {
      EncoderLayer whole = loader.encoder_layer(layer("fusion", last));
      plan.centre->q = std::move(whole.q);
      plan.centre->kv = std::move(whole.kv);
      plan.centre->tail = std::move(whole.tail);
    }
    return plan;
  }

  std::size_t layer_floats(int windows) const {
    const std::ptrdiff_t c = size();
    const Tokens tokens{nullptr, windows, room_, config_.max_length};
    std::size_t most = encoder_workspace(ops_, shape_, tokens);
    const int own = config_.num_bottleneck + config_.max_length;
    const std::size_t context = floats(windows * own * c) + 16;
    most = std::max(most, context + ops_.window_attention_scratch(own, shape_.head_size()));
    most = std::max(most, floats(static_cast<std::ptrdiff_t>(windows) * own * config_.ffn_size));
    most = std::max(most, centre_workspace(ops_, shape_, windows, bottlenecks_, config_.max_length));
    // Without project_once, every window's features are gathered and projected.
    return std::max(most, floats(windows * config_.max_length * (c + widest_feature())) + 16);
  }

  std::ptrdiff_t widest_feature() const {
    int widest = 0;
    for (const ModalityPlan& plan : modalities_) widest = std::max(widest, plan.feature_size);
    return on(passes::project_once) ? 0 : widest;
  }

  Layout lay_out(Arena& arena, int windows) const {
    const std::ptrdiff_t c = size();
    const std::ptrdiff_t seen = windows + config_.max_length - 1;
    Layout at{};
    for (const ModalityPlan& plan : modalities_) {
      at.tokens.push_back(arena.take(floats(windows * (room_ + config_.max_length) * c)));
      at.projected.push_back(on(passes::project_once) ? arena.take(floats(seen * c)) : nullptr);
      at.tables.push_back(plan.tables ? arena.take(floats(seen * 3 * c)) : nullptr);
    }
    at.bottlenecks = arena.take(floats(windows * bottlenecks_ * c));
    at.fused = arena.take(floats(windows * c) * modalities_.size());
    at.inverse_sigma = arena.take(floats(static_cast<std::ptrdiff_t>(windows) * config_.max_length));
    at.layer = arena.take(layer_floats(windows));
    return at;
  }

  // A modality's own bottleneck tokens and latents stand at the end of its matrix, where fusion finds its latents.
  Tokens own_tokens(std::size_t m, const Chunk& chunk, const Layout& at) const {
    const std::ptrdiff_t front = static_cast<std::ptrdiff_t>(chunk.windows) * (room_ - config_.num_bottleneck);
    return {at.tokens[m] + front * size(), chunk.windows, config_.num_bottleneck, config_.max_length};
  }

  void encode(std::size_t m, const float* features, const Chunk& chunk, const Layout& at) {
    const ModalityPlan& plan = modalities_[m];
    const Tokens tokens = own_tokens(m, chunk, at);
    const WindowRows rows{chunk.first, half(), chunk.shots, std::max(0, chunk.first - half())};
    const float* projected =
        on(passes::project_once) ? project(m, features, rows, chunk, at) : project_windows(plan, features, chunk, at);
    const ShotEncoder& encoder = plan.encoder;
    ops_.embed({projected, encoder.position.data(), align_.data(), encoder.norm.gamma.data(), encoder.norm.beta.data(),
                tokens.rows + tokens.latent_begin() * size(), at.inverse_sigma, rows, !on(passes::project_once),
                config_.max_length, config_.num_bottleneck, config_.hidden_size, shape_.eps},
               chunk.windows * config_.max_length);
    for (std::ptrdiff_t w = 0; w < chunk.windows; ++w) {
      std::memcpy(tokens.rows + w * config_.num_bottleneck * size(), encoder.bottleneck.data(),
                  encoder.bottleneck.bytes());
    }
    if (plan.tables) first_layer(m, tokens, rows, at);
    for (const EncoderLayer& layer : plan.unimodal) run_encoder_layer(ops_, shape_, layer, tokens, false, at.layer);
  }

  // Projects the shots that no earlier chunk has projected; those that both chunks see move to the front.
  const float* project(std::size_t m, const float* features, const WindowRows& rows, const Chunk& chunk,
                       const Layout& at) {
    const ModalityPlan& plan = modalities_[m];
    const int end = std::min(chunk.shots, chunk.first + chunk.windows + half());
    const int done = chunk.first == 0 ? 0 : std::min(chunk.shots, chunk.first + half());
    const auto slide = [&](float* matrix, std::ptrdiff_t width) {
      const int before = std::max(0, chunk.first - windows_ - half());  // shot in row 0 during the previous chunk
      if (done > rows.stored) {
        std::memmove(matrix, matrix + (rows.stored - before) * width,
                     floats((done - rows.stored) * width) * sizeof(float));
      }
      return Matrix{matrix + (done - rows.stored) * width, width};
    };
    const Matrix fresh = slide(at.projected[m], size());
    ops_.linear({features + static_cast<std::ptrdiff_t>(done) * plan.feature_size, plan.feature_size},
                plan.encoder.projection, fresh, end - done);
    if (plan.tables) ops_.linear(fresh, plan.tables->shot, slide(at.tables[m], 3 * size()), end - done);
    return at.projected[m];
  }

  const float* project_windows(const ModalityPlan& plan, const float* features, const Chunk& chunk, const Layout& at) {
    const std::ptrdiff_t width = plan.feature_size;
    const int count = chunk.windows * config_.max_length;
    float* gathered = at.layer + count * size();
    const WindowRows rows{chunk.first, half(), chunk.shots, 0};
    for (int r = 0; r < count; ++r) {
      std::memcpy(gathered + r * width, features + rows.row(r / config_.max_length, r % config_.max_length) * width,
                  floats(width) * sizeof(float));
    }
    ops_.linear({gathered, width}, plan.encoder.projection, {at.layer, size()}, count);
    return at.layer;
  }

  void first_layer(std::size_t m, const Tokens& tokens, const WindowRows& rows, const Layout& at) {
    const WindowTables& tables = *modalities_[m].tables;
    float* scratch = at.layer + (tokens.count() * size() + 15) / 16 * 16;
    ops_.window_attention({at.tables[m], tables.position.data(), tables.shift.data(), tables.bottleneck.data(),
                           at.inverse_sigma, at.layer, rows, tokens.batch, config_.max_length, config_.num_bottleneck,
                           config_.num_heads, shape_.head_size(), shape_.scale()},
                          scratch);
    run_layer_tail(ops_, shape_, modalities_[m].first_tail, {at.layer, size()}, {tokens.rows, size()}, tokens.count(),
                   at.layer);
  }

  void collect_bottlenecks(const Chunk& chunk, const Layout& at) {
    const std::ptrdiff_t own = config_.num_bottleneck * size();
    for (std::size_t m = 0; m < modalities_.size(); ++m) {
      const float* from = own_tokens(m, chunk, at).rows;
      for (std::ptrdiff_t w = 0; w < chunk.windows; ++w) {
        std::memcpy(at.bottlenecks + w * bottlenecks_ * size() + static_cast<std::ptrdiff_t>(m) * own, from + w * own,
                    floats(own) * sizeof(float));
      }
    }
  }

  // Fusion layers, then the centre rows into this modality's columns of at.fused.
  void fuse(std::size_t m, const Chunk& chunk, const Layout& at) {
    const ModalityPlan& plan = modalities_[m];
    const Tokens tokens{at.tokens[m], chunk.windows, room_, config_.max_length};
    const float* bottleneck_rows = at.bottlenecks;
    if (!plan.fusion.empty()) {
      std::memcpy(tokens.rows, at.bottlenecks, floats(tokens.latent_begin() * size()) * sizeof(float));
      bottleneck_rows = tokens.rows;
    }
    for (const EncoderLayer& layer : plan.fusion) {
      const bool last = &layer == &plan.fusion.back() && !plan.centre;
      run_encoder_layer(ops_, shape_, layer, tokens, last && on(passes::latent_queries), at.layer);
    }
    float* latents = tokens.rows + tokens.latent_begin() * size();
    const Matrix centre{latents + half() * size(), config_.max_length * size()};
    if (plan.centre) {
      run_centre_layer(ops_, shape_, *plan.centre,
                       {bottleneck_rows, latents, chunk.windows, bottlenecks_, config_.max_length}, centre, at.layer);
    }
    const std::ptrdiff_t width = static_cast<std::ptrdiff_t>(modalities_.size()) * size();
    for (std::ptrdiff_t w = 0; w < chunk.windows; ++w) {
      std::memcpy(at.fused + w * width + static_cast<std::ptrdiff_t>(m) * size(), centre.data + w * centre.stride,
                  floats(size()) * sizeof(float));
    }
  }

  const Config& config_;
  Ops& ops_;
  EncoderShape shape_;
  unsigned passes_;
  int bottlenecks_;  // tokens of all modalities
  int room_ = 0;     // bottleneck tokens that each modality's matrix has room for: its own, or everyone's to fuse with
  int windows_ = kWindows;
  Buffer align_;
  std::vector<ModalityPlan> modalities_;
  Linear head_;
};

}  // namespace

std::unique_ptr<Executor> make_scene_executor(const Config& config, const TensorSource& tensors, Ops& ops,
                                              unsigned passes) {
  return std::make_unique<SceneExecutor>(config, tensors, ops, passes);
}

}  // namespace megaseg
