// A MEGA model made ready to run on the CPU: weights packed for one target, a thread pool, a bounded workspace.
// Free of Python: this header and libmegaseg_core are all that a C++ service needs.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "megaseg/error.h"

namespace megaseg {

struct Modality {
  std::string name;
  int feature_size;
};

// The checkpoint's config; the caller has validated it.
struct Config {
  bool windowed;  // scene: every shot's centred window; otherwise (act, synopsis) the whole sequence at once
  std::vector<Modality> modalities;
  int max_length;
  int num_bottleneck;
  int hidden_size;
  int ffn_size;
  int num_heads;
  int num_unimodal_layers;
  int num_fusion_layers;
  int num_classes;
  float layer_norm_eps;
};

// Values of one named tensor, alive as long as `owner`.
struct Tensor {
  const float* data;
  std::size_t size;
  std::shared_ptr<const void> owner;
};

// Gives a checkpoint's tensors by name, each asked for once, so that weights need not be in memory twice.
using TensorSource = std::function<Tensor(const std::string& name)>;

// Exact rewrites of the model; each may be switched off alone.
namespace passes {
inline constexpr unsigned project_once = 1;  // features of a shot once, not once per window
inline constexpr unsigned window_tables =
    2;  // first layer's QKV from per-shot and per-position tables; needs project_once
inline constexpr unsigned centre_queries = 4;  // last fusion layer of a scene model on the centre rows alone
inline constexpr unsigned folded_query = 8;  // its key and value projections around the one query; needs centre_queries
inline constexpr unsigned latent_queries = 16;  // last fusion layer without the bottleneck tokens' queries
inline constexpr unsigned all = 31;
}  // namespace passes

struct Options {
  int num_threads = 0;           // 0: physical cores that the process may use
  std::size_t memory_limit = 0;  // bytes of weights and workspace together; 0: none
  unsigned passes = passes::all;
  std::string target;  // empty: MEGASEG_ISA, else the fastest
};

class Plan {
 public:
  // Throws Unsupported, ResourceLimit, std::invalid_argument (a tensor of the wrong size), std::bad_alloc, and whatever
  // the source throws.
  Plan(const Config& config, const TensorSource& tensors, const Options& options);
  ~Plan();

  // features[m]: [shots, feature_size]; logits: [shots, num_classes]. May be called from any thread; calls take turns.
  // Results do not depend on num_threads or memory_limit. Throws Unsupported in a process forked after construction.
  void run(const std::vector<const float*>& features, int shots, float* logits);

  const char* target() const;
  int num_threads() const;
  std::size_t weight_bytes() const;
  // The most workspace that any run takes, whatever the number of shots.
  std::size_t workspace_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace megaseg
