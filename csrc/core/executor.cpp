#include "core/executor.h"

#include <algorithm>
#include <optional>

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

}  // namespace

Executor::Executor(const Program& program, Ops& ops)
    : program_(program), ops_(ops), lives_(program), slots_(alignment_slots(program)), windows_(kWindows) {
  check_features(program, lives_);
}

Shape Executor::shape_of(int sequences) const {
  return {sequences, sequences * program_.max_length, program_.max_length, sequences + 2 * program_.half()};
}

std::size_t Executor::workspace_bytes() const {
  const Shape most = program_.windowed() ? shape_of(windows_) : Shape{1, program_.max_length, program_.max_length, 0};
  return Layout(program_, lives_, ops_, most).bytes;
}

bool Executor::fit(std::size_t bytes) {
  if (!program_.windowed()) return workspace_bytes() <= bytes;
  while (windows_ > 1 && workspace_bytes() > bytes) windows_ = std::max(1, windows_ * 3 / 4);
  return workspace_bytes() <= bytes;
}

std::vector<Chunk> Executor::chunks(std::span<const Movie> movies, const std::vector<int>& begins) const {
  std::vector<Chunk> chunks;
  if (program_.windowed()) {
    for (int first = 0; first < begins.back(); first += windows_) {
      const int last = std::min(begins.back(), first + windows_);
      chunks.push_back({first, last, shape_of(last - first)});
    }
    return chunks;
  }
  const std::size_t most = workspace_bytes();
  for (std::size_t movie = 0; movie < movies.size(); ++movie) {
    const int shots = movies[movie].shots;
    if (!chunks.empty()) {
      const Shape& last = chunks.back().shape;
      const Shape more{last.sequences + 1, last.latents + shots, std::max(last.longest, shots), 0};
      if (more.latents <= program_.max_length && Layout(program_, lives_, ops_, more).bytes <= most) {
        chunks.back() = {chunks.back().first, begins[movie + 1], more};
        continue;
      }
    }
    chunks.push_back({begins[movie], begins[movie + 1], {1, shots, shots, 0}});
  }
  return chunks;
}

void Executor::run(std::span<const Movie> movies, Buffer& workspace, const Output& output) {
  std::vector<int> begins{0};
  for (const Movie& movie : movies) begins.push_back(begins.back() + movie.shots);
  Run run(program_, ops_, lives_, slots_, movies, begins, output);
  std::optional<Layout> layout;
  for (const Chunk& chunk : chunks(movies, begins)) {
    // Chunks of windows keep the first one's layout, which holds what they hand on.
    if (!layout || !program_.windowed()) layout.emplace(program_, lives_, ops_, chunk.shape);
    const std::size_t floats = (layout->bytes + sizeof(float) - 1) / sizeof(float);
    if (workspace.size() < floats) {
      {
        const Buffer old = std::move(workspace);
      }  // it goes before the larger one comes
      workspace = Buffer(floats);
    }
    run.chunk(chunk, *layout, reinterpret_cast<std::byte*>(workspace.data()));
  }
}

}  // namespace megaseg
