#include "core/run/executor.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "core/error.h"

namespace megaseg {
namespace {

constexpr int kWindows = 64;  // windows of a chunk: enough rows for every product, few enough for the L3 cache

void check_features(const Program& program, const Lives& lives) {
  for (const Step& step : program.steps) {
    for (std::size_t i = 0; i < step.inputs.size(); ++i) {
      const int input = step.inputs[i];
      const bool features = !lives.stored(input) && lives.base(input) == input;
      const bool reads = i == 0 && (step.op == Op::cast || step.op == Op::linear || step.op == Op::windows);
      if (features && !reads) throw BadArtefact("program: features are read by casts, linear layers and windows");
    }
    if (step.op == Op::query_attention && !lives.stored(step.inputs[0])) {
      throw BadArtefact("program: expected a query of its own");
    }
  }
}

int alignment_slots(const Program& program) {
  int slots = 0;
  for (const Step& step : program.steps) {
    int own = slots;
    if (step.op == Op::embed) own = program.value(step.out).tokens;
    if (step.op == Op::inverse_sigma) own = static_cast<int>(step.attributes[0]);
    if (slots && own != slots) throw BadArtefact("program: expected one alignment table");
    slots = own;
  }
  return std::max(slots, 1);
}

// NaN and Inf spread from the row where a number leaves the range of float32 to the logits of all that see it.
void require_finite(std::span<const Movie> movies, const float* logits, int classes) {
  for (std::size_t i = 0; i < movies.size(); ++i) {
    const float* end = logits + static_cast<std::ptrdiff_t>(movies[i].last - movies[i].first) * classes;
    const float* bad = std::find_if(logits, end, [](float x) { return !std::isfinite(x); });
    if (bad != end) {
      throw BadFeatures("features of movie " + std::to_string(i) +
                        ": expected values that give finite logits, got NaN or Inf in row " +
                        std::to_string((bad - logits) / classes) + ": they overflow float32 in the model");
    }
    logits = end;
  }
}

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
      lives_(program),
      slots_(alignment_slots(program)),
      windows_(kWindows),
      rows_(std::max(kWindows * program.max_length, fewest_rows())),  // enough for as many movies as windows
      most_(program, lives_, ops, largest()) {
  check_features(program, lives_);
}

Shape Executor::largest() const {
  const int length = program_.max_length;
  return program_.windowed() ? Shape{windows_, windows_ * length, length, rows_} : Shape{1, length, length, 0};
}

std::size_t Executor::workspace_bytes() const {
  const std::size_t spare = lives_.keeps() ? static_cast<std::size_t>(kept_shots()) * lives_.record_bytes() : 0;
  return most_.bytes + spare;
}

void Executor::resize(int windows, int rows) {
  windows_ = windows;
  rows_ = std::max(rows, fewest_rows());
  most_ = Layout(program_, lives_, ops_, largest());
}

bool Executor::fit(std::size_t bytes) {
  while (workspace_bytes() > bytes) {
    if (!program_.windowed() || (windows_ == 1 && rows_ == fewest_rows())) return false;
    // Rows of shots first: neighbouring windows share theirs, only short excerpts together need as many.
    if (rows_ > fewest_rows()) {
      resize(windows_, rows_ / 4 * 3);
    } else {
      resize(std::max(1, windows_ * 3 / 4), 0);
    }
  }
  return true;
}

std::unique_ptr<Keeper> Executor::keep() const {
  return lives_.keeps() ? std::make_unique<Keeper>(lives_, kept_shots()) : nullptr;
}

// Smaller values do not always pack into less: then they lie as the largest chunk's do.
Layout Executor::layout(const Shape& shape) const {
  Layout own(program_, lives_, ops_, shape);
  return own.bytes <= most_.bytes ? own : most_;
}

// At most `windows` windows of a movie from `first` on. Rows of shots are there as far as the movie's earlier windows
// of this run saw them, and as they were kept before it.
View Executor::view(const Source& source, int first, int windows) const {
  const Movie& movie = *source.movie;
  const int half = program_.half();
  const int last = std::min(movie.last, first + windows);
  const int low = std::max(0, first - half);
  const int high = std::min(source.end, last + half);
  int there = 0;
  if (lives_.keeps()) there = std::max(source.kept, first > movie.first ? std::min(source.end, first + half) : 0);
  const int oldest = movie.kept ? std::max(0, source.end - kept_shots()) : source.end;  // to be kept after the run
  const int fresh = std::min(high, std::max(there, std::min(low, oldest)));
  const int tail = last < movie.last ? source.end : std::max({high, there, oldest});
  return {&source, first, last, std::min(low, fresh), fresh, high, tail};
}

std::vector<Chunk> Executor::window_chunks(std::span<const Source> sources) const {
  std::vector<Chunk> chunks;
  int row = 0;
  for (const Source& source : sources) {
    for (int first = source.movie->first; first < source.movie->last;) {
      const Shape full = chunks.empty() ? largest() : chunks.back().shape;
      View next = view(source, first, windows_ - full.sequences);
      if (next.last == first || full.shots + next.shots() > rows_) {
        chunks.push_back({row, {0, 0, program_.max_length, 0}, {}});
        next = view(source, first, windows_);
      }
      const int windows = next.last - first;
      Shape& shape = chunks.back().shape;
      shape.sequences += windows;
      shape.latents += windows * program_.max_length;
      shape.shots += next.shots();
      chunks.back().views.push_back(next);
      row += windows;
      first = next.last;
    }
  }
  return chunks;
}

std::vector<Chunk> Executor::movie_chunks(std::span<const Source> sources) const {
  std::vector<Chunk> chunks;
  int row = 0;
  for (const Source& source : sources) {
    const int shots = source.end;
    const Shape full = chunks.empty() ? largest() : chunks.back().shape;
    Shape shape{full.sequences + 1, full.latents + shots, std::max(full.longest, shots), 0};
    if (shape.latents > program_.max_length || Layout(program_, lives_, ops_, shape).bytes > most_.bytes) {
      chunks.push_back({row, {}, {}});
      shape = {1, shots, shots, 0};
    }
    chunks.back().shape = shape;
    chunks.back().views.push_back({&source, 0, shots, 0, 0, shots, shots});
    row += shots;
  }
  return chunks;
}

void Executor::run(std::span<const Movie> movies, Buffer& workspace, const Output& output) {
  std::vector<Source> sources;
  for (const Movie& movie : movies) {
    const int kept = movie.kept ? movie.kept->shots() : 0;
    const std::int64_t origin = movie.kept ? movie.kept->end() - kept : 0;
    sources.push_back({&movie, kept, kept + movie.shots, origin, movie.kept});
  }
  const std::vector<Chunk> chunks = program_.windowed() ? window_chunks(sources) : movie_chunks(sources);
  if (chunks.size() > 1) {
    if (!spare_) spare_ = keep();
    for (Source& source : sources) source.keeper = source.keeper ? source.keeper : spare_.get();
  }
  std::size_t bytes = 0;
  for (const Chunk& chunk : chunks) bytes = std::max(bytes, layout(chunk.shape).bytes);
  grow(workspace, bytes);
  for (const Movie& movie : movies) {
    if (movie.kept) movie.kept->let_go();  // until all is well: a run may end half-way
  }
  Run run(program_, ops_, lives_, slots_, output);
  for (const Chunk& chunk : chunks) {
    run.chunk(chunk, layout(chunk.shape), reinterpret_cast<std::byte*>(workspace.data()));
  }
  require_finite(movies, output.logits, program_.classes);
  for (const Source& source : sources) {
    if (source.movie->kept) source.keeper->hold(source.origin + source.end, std::min(source.end, kept_shots()));
  }
}

}  // namespace megaseg
