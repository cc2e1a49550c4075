// Whole movies, gathered into batches of no more rows than the longest movie may have, or kRows if that is more.
#include <algorithm>

#include "core/schedule/schedule.h"

namespace megaseg {
namespace {

constexpr int kRows = 1024;  // that make up for reading the weights, for as many threads as machines have

class WholeSchedule : public Schedule {
 public:
  explicit WholeSchedule(const Sequences& sequences) : length_(sequences.length), rows_(std::max(length_, kRows)) {}

  Shape largest() const override { return {1, rows_, length_, 0}; }
  bool shrink() override {
    if (rows_ == length_) return false;
    rows_ = std::max(length_, rows_ / 4 * 3);
    return true;
  }
  int cached_shots() const override { return 0; }

  std::vector<Chunk> chunks(std::span<const Source> sources, const Fits& fits) const override {
    std::vector<Chunk> chunks;
    int sequence = 0;
    int latent = 0;
    for (const Source& source : sources) {
      const int shots = source.end;
      const Shape full = chunks.empty() ? largest() : chunks.back().shape;
      Shape shape{full.sequences + 1, full.latents + shots, std::max(full.longest, shots), 0};
      if (shape.latents > rows_ || !fits(shape)) {
        chunks.push_back({sequence, latent, {}, {}});
        shape = {1, shots, shots, 0};
      }
      chunks.back().shape = shape;
      chunks.back().views.push_back({&source, 0, shots, 0, 0, shots, shots});
      sequence += 1;
      latent += shots;
    }
    return chunks;
  }

 protected:
  void place(const Chunk& chunk, Index& index) const override {
    int b = 0;
    int at = 0;
    for (const View& view : chunk.views) {
      index.begin[b++] = at;
      at += view.seen_end;
    }
    index.begin[b] = at;
  }

 private:
  int length_;
  int rows_;  // of a chunk, at most
};

}  // namespace

std::unique_ptr<Schedule> whole_schedule(const Sequences& sequences) {
  return std::make_unique<WholeSchedule>(sequences);
}

}  // namespace megaseg
