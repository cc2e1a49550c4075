#include "core/run.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace megaseg {

using cpu::ConstRows;
using cpu::Rows;

namespace {

Rows from(const Rows& rows, std::ptrdiff_t row, std::ptrdiff_t column = 0) {
  auto* data = static_cast<std::byte*>(rows.data) + (row * rows.stride + column) * cpu::bytes_of(rows.type);
  return {data, rows.stride, rows.type, rows.scale ? rows.scale + row : nullptr};
}

// Copies `count` rows of `columns` elements.
void copy(const Rows& source, const Rows& target, int count, int columns) {
  const auto bytes = static_cast<std::size_t>(columns) * static_cast<std::size_t>(cpu::bytes_of(source.type));
  for (int r = 0; r < count; ++r) std::memcpy(from(target, r).data, from(source, r).data, bytes);
}

}  // namespace

void Run::chunk(const Chunk& chunk, const Layout& layout, std::byte* workspace) {
  layout_ = &layout;
  workspace_ = workspace;
  chunk_ = &chunk;
  index();
  if (program_.windowed()) slide();
  for (std::size_t i = 0; i < program_.steps.size(); ++i) run(program_.steps[i], workspace_ + layout_->scratch[i]);
  if (output_.contributions) keep_contributions();
}

// Movie that a row of all movies belongs to.
std::size_t Run::movie_of(int row) const {
  return static_cast<std::size_t>(std::upper_bound(begins_.begin(), begins_.end(), row) - begins_.begin()) - 1;
}

void Run::index() {
  const Shape& shape = chunk_->shape;
  row_ = reinterpret_cast<int*>(workspace_ + layout_->indices);
  place_ = row_ + shape.latents;
  slot_ = place_ + shape.latents;
  begin_ = slot_ + shape.latents;
  each_ = begin_ + shape.sequences + 1;
  for (int b = 0; b <= shape.sequences; ++b) each_[b] = b;
  if (program_.windowed()) return index_windows();
  int at = 0;
  for (int b = 0; b < shape.sequences; ++b) {
    const int shots = movies_[movie_of(chunk_->first) + static_cast<std::size_t>(b)].shots;
    begin_[b] = at;
    for (int i = 0; i < shots; ++i, ++at) {
      place_[at] = i;
      slot_[at] = static_cast<int>(static_cast<long>(i) * slots_ / shots);
    }
  }
  begin_[shape.sequences] = at;
}

void Run::index_windows() {
  const int length = program_.max_length;
  const int half = program_.half();
  const int low = std::max(begins_[movie_of(chunk_->first)], chunk_->first - half);
  const int high = std::min(begins_[movie_of(chunk_->last - 1) + 1], chunk_->last + half);
  before_ = low_;
  fresh_ = std::max(low, high_);
  low_ = low;
  high_ = high;
  for (int w = 0; w < chunk_->shape.sequences; ++w) {
    const std::size_t movie = movie_of(chunk_->first + w);
    begin_[w] = w * length;
    for (int j = 0; j < length; ++j) {
      const int shot = std::clamp(chunk_->first + w + j - half, begins_[movie], begins_[movie + 1] - 1);
      row_[w * length + j] = shot - low_;
      place_[w * length + j] = j;
      slot_[w * length + j] = static_cast<int>(static_cast<long>(j) * slots_ / length);
    }
  }
  begin_[chunk_->shape.sequences] = chunk_->shape.latents;
}

// Rows of shots that the chunk before computed and this one sees too move to the front.
void Run::slide() const {
  if (fresh_ <= low_ || low_ == before_) return;
  for (const Step& step : program_.steps) {
    if (!lives_.kept(step.out)) continue;
    const Rows rows = at(step.out);
    const Rows source = from(rows, low_ - before_);
    const std::ptrdiff_t count = static_cast<std::ptrdiff_t>(fresh_ - low_) * rows.stride;
    std::memmove(rows.data, source.data, static_cast<std::size_t>(count * cpu::bytes_of(rows.type)));
  }
}

// A value's rows; of shots, row 0 is the first that the chunk sees.
Rows Run::at(int index) const {
  const Value& own = value(index);
  const int base = lives_.base(index);
  if (base != index) return selected(own, base);
  if (index == program_.head().out) {
    return {output_.logits + static_cast<std::ptrdiff_t>(chunk_->first) * own.width, own.width, own.type};
  }
  const auto i = static_cast<std::size_t>(index);
  auto* scale = own.type == cpu::Type::int8 ? reinterpret_cast<float*>(workspace_ + layout_->scale[i]) : nullptr;
  return {workspace_ + layout_->offset[i], own.width, own.type, scale};
}

Rows Run::selected(const Value& own, int base) const {
  const Rows all = at(base);
  if (own.space == Space::bottlenecks) return all;
  const Value& whole = value(base);
  const std::ptrdiff_t front =
      whole.space == Space::tokens ? static_cast<std::ptrdiff_t>(chunk_->shape.sequences) * whole.tokens : 0;
  if (own.space == Space::latents) return from(all, front);
  Rows centres = from(all, front + program_.half());
  centres.stride *= program_.max_length;
  return centres;
}

// Calls work(in, out, rows) for the rows of `out` that this chunk makes; features come in pieces, movie by movie.
template <typename Work>
void Run::by_rows(const Step& step, const Work& work) const {
  const int input = step.inputs[0];
  const bool shots = value(step.out).space == Space::shots;
  const int begin = shots ? fresh_ - low_ : 0;
  const int count = shots ? high_ - fresh_ : chunk_->shape.rows(value(step.out));
  if (lives_.stored(input) || lives_.base(input) != input) {
    const Rows in = at(input);
    return work(from(in, begin), begin, count);
  }
  const int first = shots ? fresh_ : chunk_->first;
  for (int done = 0; done < count;) {
    const std::size_t movie = movie_of(first + done);
    const int rows = std::min(count - done, begins_[movie + 1] - first - done);
    work(features(input, movie, first + done), begin + done, rows);
    done += rows;
  }
}

Rows Run::features(int index, std::size_t movie, int row) const {
  const Step& step =
      *std::find_if(program_.steps.begin(), program_.steps.end(), [index](const Step& s) { return s.out == index; });
  const std::ptrdiff_t width = value(index).width;
  const float* data = movies_[movie].features[step.attributes[0]] + (row - begins_[movie]) * width;
  return {const_cast<float*>(data), width, cpu::Type::float32};  // only read
}

void Run::run(const Step& step, void* scratch) const {
  switch (step.op) {
    case Op::features:
    case Op::select: return;
    case Op::cast: return cast(step);
    case Op::windows: return windows(step);
    case Op::linear: return linear(step);
    case Op::head_linear: return head_linear(step);
    case Op::layer_norm: return layer_norm(step);
    case Op::embed: return embed(step);
    case Op::inverse_sigma: return inverse_sigma(step);
    case Op::merge: return merge(step);
    case Op::join: return join(step);
    case Op::attention: return attention(step, scratch);
    case Op::window_attention: return window_attention(step, scratch);
    case Op::query_attention: return query_attention(step, scratch);
    case Op::add: return add(step);
  }
}

void Run::cast(const Step& step) const {
  const Rows out = at(step.out);
  by_rows(step,
          [&](const Rows& in, int row, int rows) { ops_.cast({in, from(out, row), value(step.out).width}, rows); });
}

void Run::linear(const Step& step) const {
  const Rows out = at(step.out);
  const auto activation = static_cast<cpu::Activation>(step.attributes[1]);
  by_rows(step, [&](const Rows& in, int row, int rows) {
    const ConstRows residual = step.inputs.size() == 2 ? ConstRows(from(at(step.inputs[1]), row)) : ConstRows{};
    ops_.linear({in, step.weights[0].data(), residual, from(out, row), value(step.out).width,
                 value(step.inputs[0]).width, activation},
                rows);
  });
}

void Run::head_linear(const Step& step) const {
  const Rows in = at(step.inputs[0]);
  const Rows out = at(step.out);
  const int heads = program_.heads;
  const int n = value(step.out).width / heads;
  const int k = value(step.inputs[0]).width / heads;
  const std::size_t packed = step.weights[0].size() / static_cast<std::size_t>(heads);
  for (int h = 0; h < heads; ++h) {
    ops_.linear({from(in, 0, h * k),
                 step.weights[0].data() + static_cast<std::size_t>(h) * packed,
                 {},
                 from(out, 0, h * n),
                 n,
                 k,
                 cpu::Activation::none},
                chunk_->shape.rows(value(step.out)));
  }
}

void Run::layer_norm(const Step& step) const {
  const int width = value(step.out).width;
  const Rows out = at(step.out);
  by_rows(step, [&](const Rows& in, int row, int rows) {
    ops_.layer_norm({in, step.floats(0), step.floats(1), from(out, row), width, program_.eps}, rows);
  });
}

void Run::embed(const Step& step) const {
  const Value& own = value(step.out);
  const Rows out = at(step.out);
  for (int b = 0; b < chunk_->shape.sequences; ++b) {
    std::memcpy(from(out, static_cast<std::ptrdiff_t>(b) * own.tokens).data, step.weights[4].data(),
                step.weights[4].size());
  }
  const Rows latents = from(out, static_cast<std::ptrdiff_t>(chunk_->shape.sequences) * own.tokens);
  ops_.embed(embed_args(step, own.width, latents, nullptr), chunk_->shape.latents);
}

void Run::inverse_sigma(const Step& step) const {
  const int width = value(step.inputs[0]).width;
  ops_.embed(embed_args(step, width, {}, static_cast<float*>(at(step.out).data)), chunk_->shape.latents);
}

cpu::EmbedArgs Run::embed_args(const Step& step, int width, const Rows& out, float* sigma) const {
  const bool shots = value(step.inputs[0]).space == Space::shots;
  const bool scaled = step.op == Op::embed;
  return {static_cast<const float*>(at(step.inputs[0]).data),
          shots ? row_ : nullptr,
          place_,
          slot_,
          step.floats(0),
          step.floats(1),
          scaled ? step.floats(2) : nullptr,
          scaled ? step.floats(3) : nullptr,
          out,
          sigma,
          width,
          program_.eps};
}

void Run::attention(const Step& step, void* scratch) const {
  const Value& own = value(step.out);
  const Value& keys = value(step.inputs[1]);
  const Rows kv = at(step.inputs[1]);
  ops_.attention({at(step.inputs[0]), kv, from(kv, 0, own.width), at(step.out), chunk_->shape.sequences, program_.heads,
                  own.width / program_.heads, own.space == Space::tokens ? own.tokens : 0,
                  own.space == Space::centres ? each_ : begin_, keys.tokens, begin_, scale(own.width)},
                 scratch);
}

void Run::window_attention(const Step& step, void* scratch) const {
  const Value& own = value(step.out);
  ops_.window_attention(
      {static_cast<const float*>(at(step.inputs[0]).data), row_, step.floats(0), step.floats(1), step.floats(2),
       static_cast<const float*>(at(step.inputs[1]).data), at(step.out), chunk_->shape.sequences, program_.max_length,
       own.tokens, program_.heads, own.width / program_.heads, scale(own.width)},
      scratch);
}

void Run::query_attention(const Step& step, void* scratch) const {
  const Value& bottlenecks = value(step.inputs[1]);
  ops_.query_attention(
      {static_cast<const float*>(at(step.inputs[0]).data), at(step.inputs[1]), at(step.inputs[2]), at(step.out),
       program_.heads, bottlenecks.width, bottlenecks.tokens, program_.max_length, scale(bottlenecks.width)},
      chunk_->shape.sequences, scratch);
}

float Run::scale(int width) const {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(width) / program_.heads));
}

void Run::windows(const Step& step) const {
  const int input = step.inputs[0];
  const int width = value(step.out).width;
  const Rows out = at(step.out);
  for (int r = 0; r < chunk_->shape.latents; ++r) {
    const int shot = low_ + row_[r];
    const Rows source = lives_.stored(input) ? from(at(input), row_[r]) : features(input, movie_of(shot), shot);
    copy(source, from(out, r), 1, width);
  }
}

void Run::merge(const Step& step) const {
  const Value& own = value(step.out);
  const Rows out = at(step.out);
  for (std::ptrdiff_t b = 0; b < chunk_->shape.sequences; ++b) {
    std::ptrdiff_t row = b * own.tokens;
    for (const int input : step.inputs) {
      const int tokens = value(input).tokens;
      copy(from(at(input), b * tokens), from(out, row), tokens, own.width);
      row += tokens;
    }
  }
}

void Run::join(const Step& step) const {
  const Value& own = value(step.out);
  const Rows out = at(step.out);
  const int front = chunk_->shape.sequences * own.tokens;
  copy(at(step.inputs[0]), out, front, own.width);
  copy(at(step.inputs[1]), from(out, front), chunk_->shape.latents, own.width);
}

void Run::add(const Step& step) const {
  const std::ptrdiff_t width = value(step.out).width;
  const Rows out = at(step.out);
  for (std::ptrdiff_t r = 0; r < chunk_->shape.rows(value(step.out)); ++r) {
    auto* const sum = static_cast<float*>(from(out, r).data);
    std::copy_n(step.floats(0), width, sum);
    for (const int input : step.inputs) {
      const auto* part = static_cast<const float*>(from(at(input), r).data);
      for (std::ptrdiff_t c = 0; c < width; ++c) sum[c] += part[c];
    }
  }
}

// What the head adds up is still there when the last step has run.
void Run::keep_contributions() const {
  const Step& head = program_.head();
  const int classes = program_.classes;
  const auto modalities = static_cast<std::ptrdiff_t>(head.inputs.size());
  float* first = output_.contributions + chunk_->first * modalities * classes;
  for (const int input : head.inputs) {
    copy(at(input), {first, modalities * classes, cpu::Type::float32}, chunk_->shape.rows(value(input)), classes);
    first += classes;
  }
}

}  // namespace megaseg
