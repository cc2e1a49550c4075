// One run of a program on its way through the chunks that its movies are cut into.
#pragma once

#include <span>
#include <vector>

#include "core/memory/layout.h"
#include "core/run/parallel.h"
#include "core/run/profile.h"
#include "core/schedule/schedule.h"

namespace megaseg {

// Where a result of a run goes: rows of all movies, one after the other.
struct Destination {
  const Output* output;  // of the program
  bool parts;            // the output's parts [rows, parts, width] instead of itself [rows, width]
  float* data;
};

// What a step needs of the workspace while it runs, for each step, in bytes.
std::vector<std::size_t> scratch_bytes(const Program& program, const Ops& ops, const Shape& shape);

// What a step multiplies, if anything.
cpu::Type product_of(const Program& program, const Step& step);

class Run {
 public:
  Run(const Program& program, Ops& ops, const Lifetimes& lifetimes, const Schedule& schedule,
      std::span<const int> slot_counts, std::span<const Destination> destinations, Profile* profile)
      : program_(program),
        ops_(ops),
        lifetimes_(lifetimes),
        schedule_(schedule),
        slot_counts_(slot_counts),
        destinations_(destinations),
        profile_(profile),
        needed_(needed_steps()) {}

  // Chunks in order.
  void chunk(const Chunk& chunk, const Layout& layout, std::byte* workspace);

 private:
  using Rows = cpu::Rows;

  const Value& value(int index) const { return program_.value(index); }
  int count(const Value& value) const {
    return value.space == Space::shots ? index_.computed : chunk_->shape.rows(value);
  }
  std::vector<bool> needed_steps() const;
  void copy_shots(const std::vector<Index::CachedRow>& cached, bool store) const;
  void copy_output(const Destination& destination) const;

  Rows rows_of(int index) const;
  Rows selected(int index, int base) const;
  Rows features_of(int index, const Index::Span& span) const;
  const std::vector<Index::Span>& spans_of(int index) const {
    return value(index).space == Space::source ? index_.source_spans : index_.spans;
  }
  const int* begin_of(const Value& value) const;
  template <typename Work>
  void by_rows(const Step& step, const Work& work) const;
  const int* slot(const Step& step, std::size_t attribute) const;
  std::vector<std::int32_t> ids_of(int input) const;
  cpu::EmbedArgs embed_args(const Step& step, int width, const Rows& out, float* inverse_std) const;
  cpu::AttentionArgs attention_args(const Step& step) const;
  void copy_prefix(const Step& step, std::size_t weight) const;
  void timed(std::size_t step) const;
  Cost cost(const Step& step) const;
  double operations(const Step& step) const;

  // steps.cpp: one function a step.
  void run(const Step& step, void* scratch) const;
#define MEGASEG_OP(name) void name(const Step& step, void* scratch) const;
  MEGASEG_OPS(MEGASEG_OP)
#undef MEGASEG_OP

  const Program& program_;
  Ops& ops_;
  const Lifetimes& lifetimes_;
  const Schedule& schedule_;
  std::span<const int> slot_counts_;
  std::span<const Destination> destinations_;
  Profile* profile_;          // null: nobody asks
  std::vector<bool> needed_;  // of each step: for the destinations, or for caches

  const Chunk* chunk_ = nullptr;
  const Layout* layout_ = nullptr;
  std::byte* workspace_ = nullptr;
  Index index_;
};

// The rows from `row` on, of each the elements from `column` on.
inline cpu::Rows from(const cpu::Rows& rows, std::ptrdiff_t row, std::ptrdiff_t column = 0) {
  auto* data = static_cast<std::byte*>(rows.data) + (row * rows.stride + column) * cpu::bytes_of(rows.type);
  return {data, rows.stride, rows.type, rows.grids ? rows.grids + row * cpu::grids_of(rows.stride) : nullptr};
}

}  // namespace megaseg
