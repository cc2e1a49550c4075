#include "megaseg/plan.h"

#include <algorithm>
#include <mutex>

#include "core/executor.h"
#include "core/target.h"

namespace megaseg {
namespace {

// Longer than any movie: the workspace of a scene model stops growing at its chunk, an act model's at max_length.
constexpr int kManyShots = 1 << 30;

// Rows of a chunk of windows are counted in ints.
constexpr long kMostTokens = 1L << 24;

void check_sizes(const Config& config) {
  const long bottlenecks = static_cast<long>(config.modalities.size()) * config.num_bottleneck;
  if (bottlenecks + config.max_length > kMostTokens) {
    throw ResourceLimit("config: expected at most " + std::to_string(kMostTokens) + " tokens in a sequence, got " +
                        std::to_string(bottlenecks + config.max_length));
  }
}

std::unique_ptr<Executor> make_executor(const Config& config, const TensorSource& tensors, Ops& ops, unsigned passes) {
  return config.windowed ? make_scene_executor(config, tensors, ops, passes)
                         : make_sequence_executor(config, tensors, ops, passes);
}

}  // namespace

struct Plan::State {
  Config config;
  Ops ops;
  std::unique_ptr<Executor> executor;
  std::mutex turn;   // one run at a time has the threads and the workspace
  Buffer workspace;  // as large as the longest movie so far needed
};

Plan::Plan(const Config& config, const TensorSource& tensors, const Options& options)
    : state_(new State{config, Ops(kernels(options.target), options.num_threads), nullptr, {}, {}}) {
  check_sizes(config);
  state_->executor = make_executor(state_->config, tensors, state_->ops, options.passes);
  if (options.memory_limit == 0) return;
  const std::size_t weights = weight_bytes();
  const std::size_t left = options.memory_limit > weights ? options.memory_limit - weights : 0;
  if (!state_->executor->fit(left / sizeof(float))) {
    throw ResourceLimit("memory_limit: expected at least " + std::to_string(weights + workspace_bytes()) +
                        " bytes for this model's weights and smallest workspace, got " +
                        std::to_string(options.memory_limit));
  }
}

Plan::~Plan() = default;

void Plan::run(const std::vector<const float*>& features, int shots, float* logits) {
  state_->ops.pool().check_process();
  const std::lock_guard<std::mutex> lock(state_->turn);
  const std::size_t needed = state_->executor->workspace_floats(shots);
  if (state_->workspace.size() < needed) {
    {
      const Buffer old = std::move(state_->workspace);
    }  // it goes before the larger one comes
    state_->workspace = Buffer(needed);
  }
  state_->executor->run(features, shots, state_->workspace, logits);
}

const char* Plan::target() const { return state_->ops.kernels().name; }
int Plan::num_threads() const { return state_->ops.threads(); }
std::size_t Plan::weight_bytes() const { return state_->executor->weight_bytes(); }
std::size_t Plan::workspace_bytes() const { return state_->executor->workspace_floats(kManyShots) * sizeof(float); }

}  // namespace megaseg
