// A compiled model as the executor reads it: values, steps that make them, and packed weights, checked as it is read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace megaseg {

enum class Task : std::uint32_t { scene, act, synopsis };

// What the rows of a value stand for; engine/graph/graph.py says the same to Python.
enum class Space : std::uint32_t { shots, latents, bottlenecks, tokens, centres };
inline constexpr std::uint32_t kSpaces = 5;

enum class Op : std::uint32_t {
  features,
  cast,
  windows,
  linear,
  head_linear,
  layer_norm,
  embed,
  inverse_sigma,
  select,
  merge,
  join,
  attention,
  window_attention,
  query_attention,
  add,
};
inline constexpr std::uint32_t kOps = 15;

struct Value {
  Space space;
  int tokens;  // bottleneck tokens per sequence, in spaces that hold any
  int width;
  cpu::Type type;
};

struct Step {
  Op op;
  int out;
  std::vector<int> inputs;
  std::vector<std::uint32_t> attributes;  // features: modality; linear: type, activation; head_linear: type
  std::vector<std::span<const std::byte>> weights;

  const float* floats(std::size_t i) const { return reinterpret_cast<const float*>(weights[i].data()); }
};

struct Modality {
  std::string name;
  int feature_size;
};

struct Program {
  Task task;
  int max_length;
  int heads;
  int classes;
  float eps;
  float threshold;  // least P(boundary) of a boundary (scene)
  std::string target;
  std::vector<Modality> modalities;
  std::vector<Value> values;
  std::vector<Step> steps;

  bool windowed() const { return task == Task::scene; }
  int half() const { return max_length / 2; }
  const Value& value(int index) const { return values[static_cast<std::size_t>(index)]; }
  // The last step: it adds the modalities' contributions, in their order, up to the logits.
  const Step& head() const { return steps.back(); }
  // The most bottleneck tokens per sequence that any value holds.
  int most_tokens() const;
};

// Throws BadArtefact: words that end too early, an op, value or weight that does not exist or does not fit.
Program read_program(std::span<const std::uint32_t> words, std::span<const std::byte> weights);

// Sizes of every step against the target's packed weights. Throws BadArtefact.
void check_program(const Program& program, const cpu::KernelTable& kernels);

}  // namespace megaseg
