#include "core/memory/layout.h"

#include <algorithm>

namespace megaseg {
namespace {

std::size_t whole_lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// Hands out the lowest free piece of a workspace that grows as needed.
class Pieces {
 public:
  std::size_t take(std::size_t bytes) {
    bytes = whole_lines(std::max<std::size_t>(bytes, 1));
    std::size_t at = 0;
    auto next = taken_.begin();
    for (; next != taken_.end() && next->begin - at < bytes; ++next) at = next->end;
    taken_.insert(next, {at, at + bytes});
    most_ = std::max(most_, at + bytes);
    return at;
  }
  void give_back(std::size_t at) {
    taken_.erase(std::find_if(taken_.begin(), taken_.end(), [at](const Piece& piece) { return piece.begin == at; }));
  }
  std::size_t most() const { return most_; }

 private:
  struct Piece {
    std::size_t begin;
    std::size_t end;
  };
  std::vector<Piece> taken_;  // in order
  std::size_t most_ = 0;
};

std::size_t scratch_bytes(const Program& program, const Ops& ops, const Shape& shape, const Step& step) {
  const Value& out = program.value(step.out);
  const int heads = program.heads;
  switch (step.op) {
    case Op::attention:
      return ops.attention_scratch(out.type, shape.sequences, heads, out.width / heads,
                                   program.value(step.inputs[1]).tokens, shape.longest, shape.latents);
    case Op::window_attention:
      return ops.window_attention_scratch(out.type, out.tokens + program.max_length, out.width / heads);
    case Op::query_attention:
      return ops.query_attention_scratch(heads, program.value(step.inputs[1]).tokens + program.max_length);
    default: return 0;
  }
}

}  // namespace

int Shape::rows(const Value& value) const {
  switch (value.space) {
    case Space::shots: return shots;
    case Space::latents: return latents;
    case Space::bottlenecks: return sequences * value.tokens;
    case Space::tokens: return sequences * value.tokens + latents;
    case Space::centres: return sequences;
  }
  return 0;
}

Lives::Lives(const Program& program)
    : base_(program.values.size()),
      end_(program.values.size()),
      kept_(program.values.size()),
      stored_(program.values.size()),
      keeps_(program.windowed()) {
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    const auto out = static_cast<std::size_t>(step.out);
    base_[out] = step.op == Op::select ? base(step.inputs[0]) : step.out;
    stored_[out] = step.op != Op::select && step.op != Op::features && i + 1 < program.steps.size();
    end_[static_cast<std::size_t>(base_[out])] = i;
    for (const int input : step.inputs) {
      end_[static_cast<std::size_t>(base(input))] = i;
      const bool leaves = program.value(input).space == Space::shots && program.value(step.out).space != Space::shots;
      if (leaves && stored(input)) kept_[static_cast<std::size_t>(input)] = true;
      if (leaves && !stored(input)) keeps_ = false;
    }
  }
  for (const Step& step : program.steps) {
    if (!kept(step.out)) continue;
    const Value& value = program.value(step.out);
    const auto bytes = static_cast<std::size_t>(value.width) * static_cast<std::size_t>(cpu::bytes_of(value.type));
    kept_rows_.push_back({step.out, record_bytes_, bytes});
    record_bytes_ += bytes;
  }
}

std::size_t Layout::index_count(const Shape& shape) {
  return 3 * static_cast<std::size_t>(shape.latents) + 2 * (static_cast<std::size_t>(shape.sequences) + 1);
}

Layout::Layout(const Program& program, const Lives& lives, const Ops& ops, const Shape& shape)
    : offset(program.values.size()), scale(program.values.size()), scratch(program.steps.size()) {
  Pieces pieces;
  const auto place = [&](int index) {
    const Value& value = program.value(index);
    const auto rows = static_cast<std::size_t>(shape.rows(value));
    const auto i = static_cast<std::size_t>(index);
    const std::size_t data =
        whole_lines(rows * static_cast<std::size_t>(value.width) * static_cast<std::size_t>(cpu::bytes_of(value.type)));
    offset[i] = pieces.take(data + (value.type == cpu::Type::int8 ? rows * sizeof(float) : 0));
    scale[i] = offset[i] + data;
  };
  indices = pieces.take(index_count(shape) * sizeof(int));
  for (const Step& step : program.steps) {
    if (lives.kept(step.out)) place(step.out);
  }
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    if (lives.stored(step.out) && !lives.kept(step.out)) place(step.out);
    if (const std::size_t needed = scratch_bytes(program, ops, shape, step)) {
      scratch[i] = pieces.take(needed);
      pieces.give_back(scratch[i]);
    }
    for (std::size_t value = 0; value < program.values.size(); ++value) {
      const auto index = static_cast<int>(value);
      if (lives.stored(index) && !lives.kept(index) && lives.end(index) == i) pieces.give_back(offset[value]);
    }
  }
  bytes = pieces.most();
}

}  // namespace megaseg
