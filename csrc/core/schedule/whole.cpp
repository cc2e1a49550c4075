// Whole movies, gathered into batches of no more rows than the longest movie may have, or kRows if that is more.
#include <algorithm>

#include "core/schedule/schedule.h"

namespace megaseg {
namespace {

constexpr int kRows = 1024;  // that make up for reading the weights, for as many threads as machines have

class WholeSchedule : public Schedule {
 public:
  WholeSchedule(const Sequences& sequences, bool has_source)
      : length_(sequences.length), rows_(std::max(length_, kRows)), source_rows_(has_source ? kMostSourceRows : 0) {}

  Shape largest() const override { return {1, rows_, length_, 0, source_rows_, source_rows_}; }
  bool shrink() override {
    if (rows_ == length_) return false;
    rows_ = std::max(length_, rows_ / 4 * 3);
    return true;
  }
  int cached_shots() const override { return 0; }

  std::vector<Chunk> chunks(std::span<const Feed> feeds, const Fits& fits) const override {
    std::vector<Chunk> chunks;
    int sequence = 0;
    int latent = 0;
    for (const Feed& feed : feeds) {
      const int shots = feed.end;
      const Shape full = chunks.empty() ? largest() : chunks.back().shape;
      const int source = feed.movie->source_rows;
      Shape shape{full.sequences + 1,
                  full.latents + shots,
                  std::max(full.longest, shots),
                  0,
                  full.source + source,
                  std::max(full.longest_source, source)};
      if (shape.latents > rows_ || shape.source > source_rows_ || !fits(shape)) {
        chunks.push_back({sequence, latent, {}, {}});
        shape = {1, shots, shots, 0, source, source};
      }
      chunks.back().shape = shape;
      chunks.back().views.push_back({&feed, 0, shots, 0, 0, shots, shots});
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
  int rows_;         // of a chunk, at most
  int source_rows_;  // and of its second stream
};

}  // namespace

std::unique_ptr<Schedule> whole_schedule(const Sequences& sequences, bool has_source) {
  return std::make_unique<WholeSchedule>(sequences, has_source);
}

}  // namespace megaseg
