// Runs one kind of plan. Executors hold weights and sizes; a run's matrices live in the arena that they are given.
#pragma once

#include <memory>
#include <vector>

#include "core/memory.h"
#include "core/ops.h"
#include "megaseg/plan.h"

namespace megaseg {

class Executor {
 public:
  virtual ~Executor() = default;

  virtual std::size_t weight_bytes() const = 0;
  // Workspace of a run over this many shots; never more than that of a very long movie.
  virtual std::size_t workspace_floats(int shots) const = 0;
  // Shrinks what the plan may shrink so that workspace_floats() stays within `floats`, for any number of shots; false
  // when it cannot.
  virtual bool fit(std::size_t floats) = 0;
  virtual void run(const std::vector<const float*>& features, int shots, const Buffer& workspace, float* logits) = 0;
};

std::unique_ptr<Executor> make_scene_executor(const Config& config, const TensorSource& tensors, Ops& ops,
                                              unsigned passes);
std::unique_ptr<Executor> make_sequence_executor(const Config& config, const TensorSource& tensors, Ops& ops,
                                                 unsigned passes);

}  // namespace megaseg
