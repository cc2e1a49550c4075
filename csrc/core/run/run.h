// One run of a program on its way through the chunks that its movies are cut into.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/memory/layout.h"
#include "core/memory/row_cache.h"

namespace megaseg {

// A whole movie, or of a scene model the windows [first, last) over some neighbouring shots of one: those whose rows
// are kept, and then these. Beyond either end the shot at the end is repeated.
struct Movie {
  std::vector<const float*> features;  // per modality [shots, feature_size]
  int shots;
  int first = 0;
  int last = shots;
  Keeper* kept = nullptr;  // after the run it holds the last shots of them all
};

struct Output {
  float* logits;                   // [windows or shots of all movies, classes]
  float* contributions = nullptr;  // [windows or shots of all movies, modalities, classes], where asked for
};

// A movie as a run finds it. Its shots are counted from the first one that is kept.
struct Source {
  const Movie* movie;
  int kept;             // shots
  int end;              // of its shots, kept ones and others
  std::int64_t origin;  // of its first shot in the keeper's count
  Keeper* keeper;       // the movie's own, or one that hands rows from chunk to chunk
};

// What a chunk sees of a movie: all of it, or some windows and their shots.
struct View {
  const Source* source;
  int first;  // windows
  int last;
  int low;    // shots that they see: from here; the first come from the keeper,
  int fresh;  // those from here on are computed in this chunk,
  int high;   // up to here
  int tail;   // and computed only to be kept: from here to the end

  int computed() const { return high - fresh + source->end - tail; }
  int shots() const { return fresh - low + computed(); }
};

// Windows or movies that run together.
struct Chunk {
  int row;  // of the first among the run's results
  Shape shape;
  std::vector<View> views;
};

class Run {
 public:
  Run(const Program& program, Ops& ops, const Lives& lives, int slots, const Output& output)
      : program_(program), ops_(ops), lives_(lives), slots_(slots), output_(output) {}

  // Chunks in order.
  void chunk(const Chunk& chunk, const Layout& layout, std::byte* workspace);

 private:
  using Rows = cpu::Rows;

  // Neighbouring shots that the chunk computes, from a row of the workspace on.
  struct Span {
    const Source* source;
    int shot;
    int row;
    int count;
  };
  // A shot's rows in a keeper and in the workspace.
  struct Passage {
    std::byte* record;
    int row;
  };

  const Value& value(int index) const { return program_.value(index); }
  int rows(const Value& value) const { return value.space == Space::shots ? computed_ : chunk_->shape.rows(value); }
  void index();
  void index_movies();
  void index_windows();
  int* index_view(const View& view, int* row, int computed, int kept);
  void copy_shots(const std::vector<Passage>& passages, bool keep) const;

  Rows at(int index) const;
  Rows selected(const Value& own, int base) const;
  Rows features(int index, const Span& span) const;
  template <typename Work>
  void by_rows(const Step& step, const Work& work) const;
  float scale(int width) const;
  cpu::EmbedArgs embed_args(const Step& step, int width, const Rows& out, float* sigma) const;

  void run(const Step& step, void* scratch) const;
  void cast(const Step& step) const;
  void windows(const Step& step) const;
  void linear(const Step& step) const;
  void head_linear(const Step& step) const;
  void layer_norm(const Step& step) const;
  void embed(const Step& step) const;
  void inverse_sigma(const Step& step) const;
  void merge(const Step& step) const;
  void join(const Step& step) const;
  void attention(const Step& step, void* scratch) const;
  void window_attention(const Step& step, void* scratch) const;
  void query_attention(const Step& step, void* scratch) const;
  void add(const Step& step) const;
  void keep_contributions() const;

  const Program& program_;
  Ops& ops_;
  const Lives& lives_;
  int slots_;
  Output output_;

  const Chunk* chunk_ = nullptr;
  const Layout* layout_ = nullptr;
  std::byte* workspace_ = nullptr;
  int* row_ = nullptr;    // [latents] row of shots that a latent is made of
  int* place_ = nullptr;  // [latents] position within its sequence
  int* slot_ = nullptr;   // [latents] bottleneck token that the position is aligned to
  int* begin_ = nullptr;  // [sequences + 1] latents of each sequence
  int* each_ = nullptr;   // [sequences + 1] 0, 1, 2, ...
  // Rows of shots: those that the chunk computes, all views' together, and after them those that are kept.
  int computed_ = 0;
  std::vector<Span> spans_;  // of the first
  std::vector<Passage> from_keepers_;
  std::vector<Passage> to_keepers_;
};

}  // namespace megaseg
