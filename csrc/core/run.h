// One run of a program on its way through the chunks that its movies are cut into.
#pragma once

#include <span>
#include <vector>

#include "core/layout.h"

namespace megaseg {

struct Movie {
  std::vector<const float*> features;  // per modality [shots, feature_size]
  int shots;
};

struct Output {
  float* logits;                   // [shots of all movies, classes]
  float* contributions = nullptr;  // [shots of all movies, modalities, classes], where asked for
};

// Windows or movies that run together: rows [first, last) of the movies one after the other.
struct Chunk {
  int first;
  int last;
  Shape shape;
};

class Run {
 public:
  // `begins`: rows of each movie among those of all, and their end.
  Run(const Program& program, Ops& ops, const Lives& lives, int slots, std::span<const Movie> movies,
      const std::vector<int>& begins, const Output& output)
      : program_(program), ops_(ops), lives_(lives), slots_(slots), movies_(movies), begins_(begins), output_(output) {}

  // Chunks in order. `workspace` keeps its contents between chunks of windows.
  void chunk(const Chunk& chunk, const Layout& layout, std::byte* workspace);

 private:
  using Rows = cpu::Rows;

  const Value& value(int index) const { return program_.value(index); }
  std::size_t movie_of(int row) const;
  void index();
  void index_windows();
  void slide() const;

  Rows at(int index) const;
  Rows selected(const Value& own, int base) const;
  Rows features(int index, std::size_t movie, int row) const;
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
  std::span<const Movie> movies_;
  const std::vector<int>& begins_;  // of each movie among all rows, and their end
  Output output_;

  const Chunk* chunk_ = nullptr;
  const Layout* layout_ = nullptr;
  std::byte* workspace_ = nullptr;
  int* row_ = nullptr;    // [latents] row of shots that a latent is made of
  int* place_ = nullptr;  // [latents] position within its sequence
  int* slot_ = nullptr;   // [latents] bottleneck token that the position is aligned to
  int* begin_ = nullptr;  // [sequences + 1] latents of each sequence
  int* each_ = nullptr;   // [sequences + 1] 0, 1, 2, ...
  int low_ = 0;           // shots that the chunk sees: from here
  int high_ = 0;          // up to here
  int fresh_ = 0;         // those before were computed for the chunk before
  int before_ = 0;        // its low_
};

}  // namespace megaseg
