#include "core/run/run.h"

#include <algorithm>
#include <cstring>

namespace megaseg {

using cpu::Rows;

void Run::chunk(const Chunk& chunk, const Layout& layout, std::byte* workspace) {
  layout_ = &layout;
  workspace_ = workspace;
  chunk_ = &chunk;
  schedule_.index(chunk, slot_counts_, reinterpret_cast<int*>(workspace + layout.indices), index_);
  copy_shots(index_.from_caches, false);
  for (std::size_t i = 0; i < program_.steps.size(); ++i) {
    if (!needed_[i]) continue;
    profile_ ? timed(i) : run(program_.steps[i], workspace_ + layout_->scratch[i]);
  }
  copy_shots(index_.to_caches, true);
  for (const Destination& destination : destinations_) copy_output(destination);
}

void Run::timed(std::size_t step) const {
  const double begin = profile_->now();
  run(program_.steps[step], workspace_ + layout_->scratch[step]);
  profile_->add(step, profile_->now() - begin, cost(program_.steps[step]));
}

std::vector<bool> Run::needed_steps() const {
  std::vector<int> values;
  for (const Lifetimes::Row& row : lifetimes_.cached_rows()) values.push_back(row.value);
  for (const Destination& destination : destinations_) {
    const Output& output = *destination.output;
    if (destination.parts) values.insert(values.end(), output.parts.begin(), output.parts.end());
    if (!destination.parts) values.push_back(output.value);
  }
  return program_.steps_to(values);
}

// Rows of shots out of their caches, or into them; a task is a shot.
void Run::copy_shots(const std::vector<Index::CachedRow>& cached, bool store) const {
  ops_.thread_pool().run(static_cast<int>(cached.size()), [&](int task, int) {
    const Index::CachedRow& shot = cached[static_cast<std::size_t>(task)];
    for (const Lifetimes::Row& part : lifetimes_.cached_rows()) {
      std::byte* const record = shot.record + part.offset;
      std::byte* const row = workspace_ + layout_->offset[static_cast<std::size_t>(part.value)] +
                             static_cast<std::size_t>(shot.row) * part.bytes;
      std::memcpy(store ? record : row, store ? row : record, part.bytes);
    }
  });
}

// Outputs and their parts stay in the workspace until all steps have run.
void Run::copy_output(const Destination& destination) const {
  const Output& output = *destination.output;
  const Value& own = value(output.value);
  const std::ptrdiff_t first = own.space == Space::sequences ? chunk_->sequence : chunk_->latent;
  const auto parts = static_cast<std::ptrdiff_t>(destination.parts ? output.parts.size() : 1);
  float* to = destination.data + first * parts * own.width;
  for (std::ptrdiff_t i = 0; i < parts; ++i, to += own.width) {
    const int from = destination.parts ? output.parts[static_cast<std::size_t>(i)] : output.value;
    ops_.copy(rows_of(from), {to, parts * own.width, cpu::Type::float32}, count(own), own.width);
  }
}

// A value's rows; of shots, first those that the chunk computes.
Rows Run::rows_of(int index) const {
  const Value& own = value(index);
  const int base = lifetimes_.base(index);
  if (base != index) return selected(index, base);
  const auto i = static_cast<std::size_t>(index);
  auto* grids = own.type == cpu::Type::int8 ? reinterpret_cast<cpu::Grid*>(workspace_ + layout_->grids[i]) : nullptr;
  return {workspace_ + layout_->offset[i], own.width, own.type, grids};
}

Rows Run::selected(int index, int base) const {
  const Value& own = value(index);
  const Rows all = rows_of(base);
  if (lifetimes_.front(index)) return all;
  const Value& whole = value(base);
  const std::ptrdiff_t front =
      whole.space == Space::tokens ? static_cast<std::ptrdiff_t>(chunk_->shape.sequences) * whole.prefix : 0;
  if (own.space == Space::latents) return from(all, front);
  Rows centres = from(all, front + program_.sequences.half());
  centres.stride *= program_.sequences.length;
  return centres;
}

Rows Run::features_of(int index, const Index::Span& span) const {
  const auto makes = [index](const Step& step) { return step.out == index; };
  const auto input = std::find_if(program_.steps.begin(), program_.steps.end(), makes)->attributes[0];
  const Value& own = value(index);
  const std::ptrdiff_t skipped = static_cast<std::ptrdiff_t>(span.shot - span.feed->cached) * own.width;
  const auto* data = static_cast<const std::byte*>(span.feed->movie->features[input]);
  return {const_cast<std::byte*>(data) + skipped * cpu::bytes_of(own.type), own.width, own.type};  // only read
}

}  // namespace megaseg
