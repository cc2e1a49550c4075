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

}  // namespace

int Shape::rows(const Value& value) const {
  switch (value.space) {
    case Space::shots: return shots;
    case Space::latents: return latents;
    case Space::prefix: return sequences * value.prefix;
    case Space::tokens: return sequences * value.prefix + latents;
    case Space::sequences: return sequences;
    case Space::source: return source;
  }
  return 0;
}

Layout::Layout(const Program& program, const Lifetimes& lifetimes, const Shape& shape, std::size_t index_ints,
               const std::vector<std::size_t>& scratch_bytes)
    : offset(program.values.size()), grids(program.values.size()), scratch(program.steps.size()) {
  Pieces pieces;
  const auto place = [&](int index) {
    const Value& value = program.value(index);
    const auto rows = static_cast<std::size_t>(shape.rows(value));
    const auto i = static_cast<std::size_t>(index);
    const std::size_t data =
        whole_lines(rows * static_cast<std::size_t>(value.width) * static_cast<std::size_t>(cpu::bytes_of(value.type)));
    const std::size_t row_grids = value.type == cpu::Type::int8 ? cpu::grids_of(value.width) * sizeof(cpu::Grid) : 0;
    offset[i] = pieces.take(data + rows * row_grids);
    grids[i] = offset[i] + data;
  };
  indices = pieces.take(index_ints * sizeof(int));
  for (const Step& step : program.steps) {
    if (lifetimes.cached(step.out)) place(step.out);
  }
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    if (lifetimes.stored(step.out) && !lifetimes.cached(step.out)) place(step.out);
    if (scratch_bytes[i] > 0) {
      scratch[i] = pieces.take(scratch_bytes[i]);
      pieces.give_back(scratch[i]);
    }
    for (const Step& made : program.steps) {
      const auto value = static_cast<std::size_t>(made.out);
      if (lifetimes.stored(made.out) && !lifetimes.cached(made.out) && lifetimes.end(made.out) == i) {
        pieces.give_back(offset[value]);
      }
    }
  }
  bytes = pieces.most();
}

}  // namespace megaseg
