// How the sequences of a run are cut into chunks that run together, and what the rows of a chunk stand for.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/memory/layout.h"
#include "core/memory/row_cache.h"
#include "core/schedule/sequences.h"

namespace megaseg {

// A whole movie; or of a model of windows the windows [first, last) over some neighbouring shots of one: those in the
// cache, and then these. Beyond either end the shot at the end is repeated.
struct Movie {
  std::vector<const void*> features;  // per input [shots, feature_size] of its type
  int shots;
  int first = 0;
  int last = shots;
  RowCache* cache = nullptr;  // after the run it has the last shots of them all
  int source_rows = 0;        // of the second stream, where the program has one

  int rows(const Input& input) const { return input.source ? source_rows : shots; }
};
// The most rows of a movie's second stream.
inline constexpr int kMostSourceRows = 4096;

// How many rows of an output are a movie's: one per window or shot, or one of a whole movie.
inline int output_rows(const Program& program, const Output& output, const Movie& movie) {
  return program.by_shot(output) ? movie.last - movie.first : 1;
}

// A movie as a run finds it. Its shots are counted from the first one in the cache.
struct Feed {
  const Movie* movie;
  int cached;           // shots
  int end;              // of its shots, cached ones and others
  std::int64_t origin;  // of its first shot in the cache's count
  RowCache* cache;      // the movie's own, or one that hands rows from chunk to chunk
};

// What a chunk sees of a movie: all of it, or some windows and their shots.
struct View {
  const Feed* feed;
  int first;  // windows
  int last;
  int seen_begin;        // shots that they see: from here; the first come from the cache,
  int computed_begin;    // those from here on are computed in this chunk,
  int seen_end;          // up to here
  int cache_only_begin;  // and computed only for the cache: from here to the end

  int computed() const { return seen_end - computed_begin + feed->end - cache_only_begin; }
  int shots() const { return computed_begin - seen_begin + computed(); }
};

// Sequences that run together.
struct Chunk {
  int sequence;  // the first among those of the run
  int latent;    // and, of whole sequences, its first position
  Shape shape;
  std::vector<View> views;
};

// What the rows of a chunk stand for. The arrays lie in the workspace.
struct Index {
  // Neighbouring shots that the chunk computes (rows of the second stream), from a row of the workspace on.
  struct Span {
    const Feed* feed;
    int shot;
    int row;
    int count;
  };
  // A shot's rows in a cache and in the workspace.
  struct CachedRow {
    std::byte* record;
    int row;
  };

  int* row = nullptr;      // [latents] row of shots that a latent is made of
  int* place = nullptr;    // [latents] position within its sequence
  int* begin = nullptr;    // [sequences + 1] latents of each sequence
  int* each = nullptr;     // [sequences + 1] 0, 1, 2, ...
  int* source = nullptr;   // [sequences + 1] rows of the second stream of each sequence
  std::vector<int*> slot;  // for each number of slots [latents] what the position is aligned to
  // Rows of shots: those that the chunk computes, all views' together, and after them those from caches.
  int computed = 0;
  std::vector<Span> spans;  // of the first
  std::vector<Span> source_spans;
  std::vector<CachedRow> from_caches;
  std::vector<CachedRow> to_caches;

  // Ints that the arrays take for so many numbers of slots.
  static std::size_t ints(const Shape& shape, std::size_t slot_counts);
};

class Schedule {
 public:
  using Fits = std::function<bool(const Shape&)>;

  virtual ~Schedule() = default;

  // The largest chunk.
  virtual Shape largest() const = 0;
  // Makes the largest chunk smaller; false where it is as small as can be.
  virtual bool shrink() = 0;
  // Shots before the next one that a sequence to come may see.
  virtual int cached_shots() const = 0;
  // `fits` says whether a shape needs no more memory than the largest. `feeds` outlive the chunks.
  virtual std::vector<Chunk> chunks(std::span<const Feed> feeds, const Fits& fits) const = 0;
  // Fills `index`, whose arrays lie in `ints`.
  void index(const Chunk& chunk, std::span<const int> slot_counts, int* ints, Index& index) const;

 protected:
  // Writes begin and, where latents are made of rows of shots, row and what goes from and to caches.
  virtual void place(const Chunk& chunk, Index& index) const = 0;
};

// `cacheable`: rows of shots are handed from chunk to chunk.
std::unique_ptr<Schedule> window_schedule(const Sequences& sequences, bool cacheable);
// `has_source`: movies have a second stream.
std::unique_ptr<Schedule> whole_schedule(const Sequences& sequences, bool has_source);

}  // namespace megaseg
