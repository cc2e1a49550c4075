#include "core/run/executor.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "core/error.h"

namespace megaseg {
namespace {

void grow(Buffer& buffer, std::size_t bytes) {
  if (buffer.bytes() >= bytes) return;
  {
    const Buffer old = std::move(buffer);
  }  // it goes before the larger one comes
  buffer = Buffer((bytes + sizeof(float) - 1) / sizeof(float));
}

}  // namespace

Executor::Executor(const Program& program, Ops& ops)
    : program_(program),
      ops_(ops),
      lifetimes_(program),
      slot_counts_(program.slot_counts()),
      id_limits_(program.id_limits()),
      schedule_(program.sequences.windowed() ? window_schedule(program.sequences, lifetimes_.cacheable())
                                             : whole_schedule(program.sequences, program.has_source())),
      most_(layout_of(schedule_->largest())) {}

std::size_t Executor::workspace_bytes() const {
  const auto shots = static_cast<std::size_t>(schedule_->cached_shots());
  return most_.bytes + (lifetimes_.cacheable() ? shots * lifetimes_.record_bytes() : 0);
}

bool Executor::fit(std::size_t bytes) {
  while (workspace_bytes() > bytes) {
    if (!schedule_->shrink()) return false;
    most_ = layout_of(schedule_->largest());
  }
  return true;
}

std::unique_ptr<RowCache> Executor::new_cache() const {
  return lifetimes_.cacheable() ? std::make_unique<RowCache>(lifetimes_, schedule_->cached_shots()) : nullptr;
}

Layout Executor::layout_of(const Shape& shape) const {
  return {program_, lifetimes_, shape, Index::ints(shape, slot_counts_.size()), scratch_bytes(program_, ops_, shape)};
}

// Smaller values do not always fit into less: then they lie as the largest chunk's do.
Layout Executor::layout(const Shape& shape) const {
  Layout own = layout_of(shape);
  return own.bytes <= most_.bytes ? own : most_;
}

// Before anything runs, so that a run never ends half-way for them.
void Executor::require_ids(std::span<const Movie> movies) const {
  for (std::size_t i = 0; i < id_limits_.size(); ++i) {
    if (id_limits_[i] == 0) continue;
    for (std::size_t m = 0; m < movies.size(); ++m) {
      const auto* ids = static_cast<const std::int32_t*>(movies[m].features[i]);
      const auto* end = ids + movies[m].rows(program_.inputs[i]);
      const auto* bad = std::find_if(ids, end, [&](std::int32_t id) { return id < 0 || id >= id_limits_[i]; });
      if (bad == end) continue;
      throw BadFeatures("features of movie " + std::to_string(m) + ": expected ids from 0 to " +
                        std::to_string(id_limits_[i] - 1) + " in " + program_.inputs[i].name + ", got " +
                        std::to_string(*bad) + " in row " + std::to_string(bad - ids));
    }
  }
}

// NaN and Inf spread from the row where a number leaves the range of float32 to the outputs of all that see it.
void Executor::require_finite(std::span<const Movie> movies, const Destination& destination) const {
  const Output& output = *destination.output;
  const std::size_t parts = destination.parts ? output.parts.size() : 1;
  const auto width = static_cast<std::ptrdiff_t>(parts) * program_.value(output.value).width;
  const float* rows = destination.data;
  for (std::size_t i = 0; i < movies.size(); ++i) {
    const float* end = rows + output_rows(program_, output, movies[i]) * width;
    const float* bad = std::find_if(rows, end, [](float x) { return !std::isfinite(x); });
    if (bad != end) {
      throw BadFeatures("features of movie " + std::to_string(i) + ": expected values that give finite " + output.name +
                        ", got NaN or Inf in row " + std::to_string((bad - rows) / width) +
                        ": they overflow float32 in the model");
    }
    rows = end;
  }
}

void Executor::run(std::span<const Movie> movies, Buffer& workspace, std::span<const Destination> destinations,
                   Profile* profile) {
  require_ids(movies);
  std::vector<Feed> feeds;
  for (const Movie& movie : movies) {
    const int cached = movie.cache ? movie.cache->shots() : 0;
    const std::int64_t origin = movie.cache ? movie.cache->end() - cached : 0;
    feeds.push_back({&movie, cached, cached + movie.shots, origin, movie.cache});
  }
  const auto fits = [this](const Shape& shape) { return layout_of(shape).bytes <= most_.bytes; };
  const std::vector<Chunk> chunks = schedule_->chunks(feeds, fits);
  if (chunks.size() > 1) {
    if (!spare_) spare_ = new_cache();
    for (Feed& feed : feeds) feed.cache = feed.cache ? feed.cache : spare_.get();
  }
  std::size_t bytes = 0;
  for (const Chunk& chunk : chunks) bytes = std::max(bytes, layout(chunk.shape).bytes);
  grow(workspace, bytes);
  for (const Movie& movie : movies) {
    if (movie.cache) movie.cache->invalidate();  // until all is well: a run may end half-way
  }
  Run run(program_, ops_, lifetimes_, *schedule_, slot_counts_, destinations, profile);
  for (const Chunk& chunk : chunks) {
    run.chunk(chunk, layout(chunk.shape), reinterpret_cast<std::byte*>(workspace.data()));
  }
  for (const Destination& destination : destinations) require_finite(movies, destination);
  for (const Feed& feed : feeds) {
    const int cached = std::min(feed.end, schedule_->cached_shots());
    if (feed.movie->cache) feed.cache->commit(feed.origin + feed.end, cached);
  }
}

}  // namespace megaseg
