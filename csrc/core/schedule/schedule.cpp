#include "core/schedule/schedule.h"

namespace megaseg {

std::size_t Index::ints(const Shape& shape, std::size_t slot_counts) {
  return (2 + slot_counts) * static_cast<std::size_t>(shape.latents) +
         3 * (static_cast<std::size_t>(shape.sequences) + 1);
}

namespace {

// Whole movies: a view is a sequence. Windows have no second stream.
void index_source(const Chunk& chunk, Index& index) {
  if (chunk.shape.source == 0) return;
  int row = 0;
  int* begin = index.source;
  for (const View& view : chunk.views) {
    const int rows = view.feed->movie->source_rows;
    index.source_spans.push_back({view.feed, 0, row, rows});
    *begin++ = row;
    row += rows;
  }
  *begin = row;
}

}  // namespace

void Schedule::index(const Chunk& chunk, std::span<const int> slot_counts, int* ints, Index& index) const {
  const Shape& shape = chunk.shape;
  const auto take = [&](int count) {
    int* const taken = ints;
    ints += count;
    return taken;
  };
  index.row = take(shape.latents);
  index.place = take(shape.latents);
  index.begin = take(shape.sequences + 1);
  index.each = take(shape.sequences + 1);
  index.source = take(shape.sequences + 1);
  for (int b = 0; b <= shape.sequences; ++b) index.each[b] = b;
  index.computed = 0;
  index.spans.clear();
  index.source_spans.clear();
  index.from_caches.clear();
  index.to_caches.clear();
  const auto span = [&](const Feed* feed, int begin, int end) {
    if (begin < end) index.spans.push_back({feed, begin, index.computed, end - begin});
    index.computed += end - begin;
  };
  for (const View& view : chunk.views) {
    span(view.feed, view.computed_begin, view.seen_end);
    span(view.feed, view.cache_only_begin, view.feed->end);
  }
  index_source(chunk, index);
  place(chunk, index);
  for (int b = 0; b < shape.sequences; ++b) {
    for (int at = index.begin[b]; at < index.begin[b + 1]; ++at) index.place[at] = at - index.begin[b];
  }
  index.slot.clear();
  for (const int slots : slot_counts) {
    int* const slot = take(shape.latents);
    for (int b = 0; b < shape.sequences; ++b) {
      const int length = index.begin[b + 1] - index.begin[b];
      for (int at = index.begin[b]; at < index.begin[b + 1]; ++at) slot[at] = slot_of(index.place[at], slots, length);
    }
    index.slot.push_back(slot);
  }
}

}  // namespace megaseg
