// Windows of neighbouring shots: a chunk has up to a number of windows, of as many movies as fit.
#include <algorithm>

#include "core/schedule/schedule.h"

namespace megaseg {
namespace {

// Windows of a chunk: enough rows for every product, few enough for the L3 cache. Where windows are short, more of
// them: rows that make up for the start of a chunk's steps and stay in the L2 cache.
constexpr int kWindows = 64;
constexpr int kShortRows = 512;

class WindowSchedule : public Schedule {
 public:
  WindowSchedule(const Sequences& sequences, bool cacheable) : sequences_(sequences), cacheable_(cacheable) {
    const int windows = std::max(kWindows, kShortRows / sequences.length);
    resize(windows, windows * sequences.length);  // enough for as many movies as windows
  }

  Shape largest() const override { return {windows_, windows_ * sequences_.length, sequences_.length, rows_}; }
  bool shrink() override;
  int cached_shots() const override { return 2 * sequences_.half(); }
  std::vector<Chunk> chunks(std::span<const Feed> feeds, const Fits& fits) const override;

 protected:
  void place(const Chunk& chunk, Index& index) const override;

 private:
  int fewest_rows() const { return windows_ + 2 * cached_shots(); }
  void resize(int windows, int rows) {
    windows_ = windows;
    rows_ = std::max(rows, fewest_rows());
  }
  View view(const Feed& feed, int first, int windows) const;
  int* place_view(const View& view, int* row, int computed, int cached, Index& index) const;
  void store_view(const View& view, int computed, Index& index) const;

  Sequences sequences_;
  bool cacheable_;
  int windows_ = 0;  // of a chunk, at most
  int rows_ = 0;     // of shots that a chunk sees, at most
};

// Rows of shots first: neighbouring windows share theirs, only short excerpts together need as many.
bool WindowSchedule::shrink() {
  if (rows_ > fewest_rows()) {
    resize(windows_, rows_ / 4 * 3);
  } else if (windows_ > 1) {
    resize(std::max(1, windows_ * 3 / 4), 0);
  } else {
    return false;
  }
  return true;
}

// At most `windows` windows of a movie from `first` on. Rows of shots are there as far as the movie's earlier windows
// of this run saw them, and as they were cached before it.
View WindowSchedule::view(const Feed& feed, int first, int windows) const {
  const Movie& movie = *feed.movie;
  const int half = sequences_.half();
  const int last = std::min(movie.last, first + windows);
  const int begin = std::max(0, first - half);
  const int end = std::min(feed.end, last + half);
  int there = 0;
  if (cacheable_) there = std::max(feed.cached, first > movie.first ? std::min(feed.end, first + half) : 0);
  const int oldest = movie.cache ? std::max(0, feed.end - cached_shots()) : feed.end;  // in the cache after the run
  const int computed = std::min(end, std::max(there, std::min(begin, oldest)));
  const int cache_only = last < movie.last ? feed.end : std::max({end, there, oldest});
  return {&feed, first, last, std::min(begin, computed), computed, end, cache_only};
}

std::vector<Chunk> WindowSchedule::chunks(std::span<const Feed> feeds, const Fits&) const {
  std::vector<Chunk> chunks;
  int sequence = 0;
  for (const Feed& feed : feeds) {
    for (int first = feed.movie->first; first < feed.movie->last;) {
      const Shape full = chunks.empty() ? largest() : chunks.back().shape;
      View next = view(feed, first, windows_ - full.sequences);
      if (next.last == first || full.shots + next.shots() > rows_) {
        chunks.push_back({sequence, 0, {0, 0, sequences_.length, 0}, {}});
        next = view(feed, first, windows_);
      }
      const int windows = next.last - first;
      Shape& shape = chunks.back().shape;
      shape.sequences += windows;
      shape.latents += windows * sequences_.length;
      shape.shots += next.shots();
      chunks.back().views.push_back(next);
      sequence += windows;
      first = next.last;
    }
  }
  return chunks;
}

void WindowSchedule::place(const Chunk& chunk, Index& index) const {
  for (int w = 0; w <= chunk.shape.sequences; ++w) index.begin[w] = w * sequences_.length;
  int* row = index.row;
  int computed = 0;
  int cached = index.computed;
  for (const View& view : chunk.views) {
    row = place_view(view, row, computed, cached, index);
    if (view.feed->cache) store_view(view, computed, index);
    computed += view.computed();
    cached += view.computed_begin - view.seen_begin;
  }
}

// Rows of a view's latents, with its computed shots from row `computed` on and those from the cache from row `cached`.
int* WindowSchedule::place_view(const View& view, int* row, int computed, int cached, Index& index) const {
  const Feed& feed = *view.feed;
  for (int window = view.first; window < view.last; ++window) {
    for (int j = 0; j < sequences_.length; ++j) {
      const int shot = std::clamp(window + j - sequences_.half(), 0, feed.end - 1);
      *row++ = shot < view.computed_begin ? cached + shot - view.seen_begin : computed + shot - view.computed_begin;
    }
  }
  if (!feed.cache) return row;
  for (int shot = view.seen_begin; shot < view.computed_begin; ++shot) {
    index.from_caches.push_back({feed.cache->record(feed.origin + shot), cached + shot - view.seen_begin});
  }
  return row;
}

// What a view leaves in the cache: for the movie's next view, or after the last one for the next run.
void WindowSchedule::store_view(const View& view, int computed, Index& index) const {
  const Feed& feed = *view.feed;
  const bool goes_on = view.last < feed.movie->last;
  if (!goes_on && !feed.movie->cache) return;
  const auto store = [&](int shot, int row) {
    index.to_caches.push_back({feed.cache->record(feed.origin + shot), row});
  };
  const int oldest = (goes_on ? view.seen_end : feed.end) - feed.cache->most();
  for (int shot = std::max(view.computed_begin, oldest); shot < view.seen_end; ++shot) {
    store(shot, computed + shot - view.computed_begin);
  }
  for (int shot = view.cache_only_begin; shot < feed.end; ++shot) {
    store(shot, computed + view.seen_end - view.computed_begin + shot - view.cache_only_begin);
  }
}

}  // namespace

std::unique_ptr<Schedule> window_schedule(const Sequences& sequences, bool cacheable) {
  return std::make_unique<WindowSchedule>(sequences, cacheable);
}

}  // namespace megaseg
