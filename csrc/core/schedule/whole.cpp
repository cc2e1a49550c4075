// Whole movies, gathered into batches of no more rows than the longest movie may have.
#include <algorithm>

#include "core/schedule/schedule.h"

namespace megaseg {
namespace {

class WholeSchedule : public Schedule {
 public:
  explicit WholeSchedule(const Sequences& sequences) : length_(sequences.length) {}

  Shape largest() const override { return {1, length_, length_, 0}; }
  bool shrink() override { return false; }
  int cached_shots() const override { return 0; }

  std::vector<Chunk> chunks(std::span<const Source> sources, const Fits& fits) const override {
    std::vector<Chunk> chunks;
    int sequence = 0;
    int latent = 0;
    for (const Source& source : sources) {
      const int shots = source.end;
      const Shape full = chunks.empty() ? largest() : chunks.back().shape;
      Shape shape{full.sequences + 1, full.latents + shots, std::max(full.longest, shots), 0};
      if (shape.latents > length_ || !fits(shape)) {
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
};

}  // namespace

std::unique_ptr<Schedule> whole_schedule(const Sequences& sequences) {
  return std::make_unique<WholeSchedule>(sequences);
}

}  // namespace megaseg
