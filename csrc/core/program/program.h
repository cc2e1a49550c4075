// A compiled model as the executor reads it: inputs, values, the steps that make them of packed weights, and outputs.
#pragma once

#include <bit>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/program/op_list.h"
#include "core/schedule/sequences.h"
#include "cpu/kernels.h"

namespace megaseg {

// What the rows of a value stand for; engine/graph/graph.py says the same to Python.
enum class Space : std::uint32_t {
  shots,      // one per shot of the movie
  latents,    // one per position of every sequence
  prefix,     // `prefix` per sequence
  tokens,     // every sequence's prefix, then every sequence's latents
  sequences,  // one per sequence
  source,     // one per row of every sequence's second stream
};
inline constexpr std::uint32_t kSpaces = 6;

enum class Op : std::uint32_t {
#define MEGASEG_OP(name) name,
  MEGASEG_OPS(MEGASEG_OP)
#undef MEGASEG_OP
};
inline constexpr const char* kOpNames[] = {
#define MEGASEG_OP(name) #name,
    MEGASEG_OPS(MEGASEG_OP)
#undef MEGASEG_OP
};

enum class Pooling : std::uint32_t { mean, first };
enum class Place : std::uint32_t { position, slot };

struct Input {
  int feature_size;
  cpu::Type type;  // float32, or int32: ids
  bool source;     // rows of the second stream, not one per shot
  std::string name;
};

struct Value {
  Space space;
  int prefix;  // tokens per sequence, in spaces that hold any
  int width;
  cpu::Type type;
};

struct Step {
  Op op;
  int out;
  std::vector<int> inputs;
  std::vector<std::uint32_t> attributes;  // docs/formats.md lists those of each op
  std::vector<std::span<const std::byte>> weights;

  int number(std::size_t i) const { return static_cast<int>(attributes[i]); }
  float real(std::size_t i) const { return std::bit_cast<float>(attributes[i]); }
  const float* floats(std::size_t i) const { return reinterpret_cast<const float*>(weights[i].data()); }
};

// A named result, and values that it is made of: rows of its own space and width.
struct Output {
  std::string name;
  int value;
  std::vector<int> parts;
};

struct Program {
  Sequences sequences;
  std::string target;
  std::vector<std::pair<std::string, std::string>> properties;  // for who runs the model; nothing here reads them
  std::vector<Input> inputs;
  std::vector<Value> values;
  std::vector<Step> steps;
  std::vector<Output> outputs;

  const Value& value(int index) const { return values[static_cast<std::size_t>(index)]; }
  // The text of a property; null where there is none of the name.
  const std::string* property(const char* name) const;
  // Null where there is none of the name.
  const Output* output(const std::string& name) const;
  // Whether an output has a row per shot of a movie (or per window), not one for the whole movie.
  bool by_shot(const Output& output) const;
  // Whether movies have a second stream, with a number of rows of its own.
  bool has_source() const;
  // The most prefix tokens per sequence that any value holds.
  int most_prefix() const;
  // Of each step, whether any of these values is made of what it makes.
  std::vector<bool> steps_to(const std::vector<int>& made) const;
  // Into how many slots positions are aligned by steps: each number once, in order.
  std::vector<int> slot_counts() const;
  // For each input of ids how many rows the smallest table has, or groups the pool, that they choose from; 0: neither.
  std::vector<int> id_limits() const;
};

// Throws BadArtefact: words that end too early, an op, value or weight that does not exist or does not fit.
Program read_program(std::span<const std::uint32_t> words, std::span<const std::byte> weights);

// Sizes and types of every step and output against what steps can do and the target's packed weights. Throws
// BadArtefact.
void check_program(const Program& program, const cpu::KernelTable& kernels);

}  // namespace megaseg
