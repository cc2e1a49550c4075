#include "core/run/run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

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
  copy_shots(from_keepers_, false);
  for (std::size_t i = 0; i < program_.steps.size(); ++i) run(program_.steps[i], workspace_ + layout_->scratch[i]);
  copy_shots(to_keepers_, true);
  if (output_.contributions) keep_contributions();
}

void Run::index() {
  const Shape& shape = chunk_->shape;
  row_ = reinterpret_cast<int*>(workspace_ + layout_->indices);
  place_ = row_ + shape.latents;
  slot_ = place_ + shape.latents;
  begin_ = slot_ + shape.latents;
  each_ = begin_ + shape.sequences + 1;
  for (int b = 0; b <= shape.sequences; ++b) each_[b] = b;
  spans_.clear();
  computed_ = 0;
  const auto span = [&](const Source* source, int begin, int end) {
    if (begin < end) spans_.push_back({source, begin, computed_, end - begin});
    computed_ += end - begin;
  };
  for (const View& view : chunk_->views) {
    span(view.source, view.fresh, view.high);
    span(view.source, view.tail, view.source->end);
  }
  program_.windowed() ? index_windows() : index_movies();
}

void Run::index_movies() {
  int at = 0;
  int b = 0;
  for (const View& view : chunk_->views) {
    begin_[b++] = at;
    for (int i = 0; i < view.high; ++i, ++at) {
      place_[at] = i;
      slot_[at] = static_cast<int>(static_cast<long>(i) * slots_ / view.high);
    }
  }
  begin_[b] = at;
}

void Run::index_windows() {
  const int length = program_.max_length;
  const int windows = chunk_->shape.sequences;
  for (int w = 0; w <= windows; ++w) begin_[w] = w * length;
  for (int r = 0; r < windows * length; ++r) {
    place_[r] = r % length;
    slot_[r] = static_cast<int>(static_cast<long>(place_[r]) * slots_ / length);
  }
  from_keepers_.clear();
  to_keepers_.clear();
  int* row = row_;
  int computed = 0;
  int kept = computed_;
  for (const View& view : chunk_->views) {
    row = index_view(view, row, computed, kept);
    computed += view.computed();
    kept += view.fresh - view.low;
  }
}

// Rows of a view's latents, with its computed shots from row `computed` on and its kept ones from row `kept` on.
int* Run::index_view(const View& view, int* row, int computed, int kept) {
  const Source& source = *view.source;
  const int half = program_.half();
  for (int window = view.first; window < view.last; ++window) {
    for (int j = 0; j < program_.max_length; ++j) {
      const int shot = std::clamp(window + j - half, 0, source.end - 1);
      *row++ = shot < view.fresh ? kept + shot - view.low : computed + shot - view.fresh;
    }
  }
  if (!source.keeper) return row;
  const auto record = [&](int shot) { return source.keeper->record(source.origin + shot); };
  for (int shot = view.low; shot < view.fresh; ++shot) from_keepers_.push_back({record(shot), kept + shot - view.low});
  const bool goes_on = view.last < source.movie->last;
  if (!goes_on && !source.movie->kept) return row;
  const int oldest = (goes_on ? view.high : source.end) - source.keeper->most();
  for (int shot = std::max(view.fresh, oldest); shot < view.high; ++shot) {
    to_keepers_.push_back({record(shot), computed + shot - view.fresh});
  }
  for (int shot = view.tail; shot < source.end; ++shot) {
    to_keepers_.push_back({record(shot), computed + view.high - view.fresh + shot - view.tail});
  }
  return row;
}

// Rows of shots out of their keepers, or into them; a task is a shot.
void Run::copy_shots(const std::vector<Passage>& passages, bool keep) const {
  ops_.pool().run(static_cast<int>(passages.size()), [&](int task, int) {
    const Passage& passage = passages[static_cast<std::size_t>(task)];
    for (const Lives::Row& kept : lives_.kept_rows()) {
      std::byte* const record = passage.record + kept.offset;
      std::byte* const row = workspace_ + layout_->offset[static_cast<std::size_t>(kept.value)] +
                             static_cast<std::size_t>(passage.row) * kept.bytes;
      std::memcpy(keep ? record : row, keep ? row : record, kept.bytes);
    }
  });
}

// A value's rows; of shots, first those that the chunk computes.
Rows Run::at(int index) const {
  const Value& own = value(index);
  const int base = lives_.base(index);
  if (base != index) return selected(own, base);
  if (index == program_.head().out) {
    return {output_.logits + static_cast<std::ptrdiff_t>(chunk_->row) * own.width, own.width, own.type};
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

// Calls work(in, row, count) for the rows of `out` that this chunk makes; features come in pieces, those that lie one
// after the other in memory as one.
template <typename Work>
void Run::by_rows(const Step& step, const Work& work) const {
  const int input = step.inputs[0];
  if (lives_.stored(input) || lives_.base(input) != input) return work(at(input), 0, rows(value(step.out)));
  for (auto span = spans_.begin(); span != spans_.end();) {
    const Rows in = features(input, *span);
    const int row = span->row;
    int count = 0;
    do {
      count += span++->count;
    } while (span != spans_.end() && features(input, *span).data == from(in, count).data);
    work(in, row, count);
  }
}

Rows Run::features(int index, const Span& span) const {
  const Step& step =
      *std::find_if(program_.steps.begin(), program_.steps.end(), [index](const Step& s) { return s.out == index; });
  const std::ptrdiff_t width = value(index).width;
  const float* data = span.source->movie->features[step.attributes[0]] + (span.shot - span.source->kept) * width;
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
                rows(value(step.out)));
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
  const auto source = [&](int row) {
    if (lives_.stored(input)) return from(at(input), row);
    const auto before = [](int r, const Span& span) { return r < span.row; };
    const Span& span = *std::prev(std::upper_bound(spans_.begin(), spans_.end(), row, before));
    return from(features(input, span), row - span.row);
  };
  for (int r = 0; r < chunk_->shape.latents; ++r) copy(source(row_[r]), from(out, r), 1, width);
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
  for (std::ptrdiff_t r = 0; r < rows(value(step.out)); ++r) {
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
  float* first = output_.contributions + chunk_->row * modalities * classes;
  for (const int input : head.inputs) {
    copy(at(input), {first, modalities * classes, cpu::Type::float32}, rows(value(input)), classes);
    first += classes;
  }
}

}  // namespace megaseg
