// What every op does to the rows of a chunk: one function a step.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "core/run/run.h"

namespace megaseg {

using cpu::ConstRows;
using cpu::Rows;

namespace {

// 1 / sqrt(head size), by which scores are scaled.
float softmax_scale(int width, int heads) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(width) / heads));
}

// The most rows of a sequence, without its prefix.
int longest(const Shape& shape, const Value& value) {
  return value.space == Space::source ? shape.longest_source : shape.longest;
}

// What attention multiplies.
cpu::Type product_of(const Step& step) { return static_cast<cpu::Type>(step.attributes[1]); }

std::size_t scratch_of(const Program& program, const Ops& ops, const Shape& shape, const Step& step) {
  const Value& out = program.value(step.out);
  const int length = program.sequences.length;
  switch (step.op) {
    case Op::attention: {
      const Value& kv = program.value(step.inputs[1]);
      const int most = out.prefix + (out.space == Space::sequences ? 1 : longest(shape, out));
      return ops.attention_scratch(product_of(step), shape.sequences, step.number(0), out.width / step.number(0), most,
                                   kv.prefix, longest(shape, kv),
                                   kv.space == Space::source ? shape.source : shape.latents);
    }
    case Op::window_attention:
      return ops.window_attention_scratch(out.type, out.prefix + length, out.width / step.number(0));
    case Op::query_attention:
      return ops.query_attention_scratch(step.number(0), program.value(step.inputs[1]).prefix + length);
    default: return 0;
  }
}

}  // namespace

std::vector<std::size_t> scratch_bytes(const Program& program, const Ops& ops, const Shape& shape) {
  std::vector<std::size_t> bytes;
  for (const Step& step : program.steps) bytes.push_back(scratch_of(program, ops, shape, step));
  return bytes;
}

void Run::run(const Step& step, void* scratch) const {
  switch (step.op) {
#define MEGASEG_OP(name) \
  case Op::name: return name(step, scratch);
    MEGASEG_OPS(MEGASEG_OP)
#undef MEGASEG_OP
  }
}

// Calls work(in, row, count) for the rows of the result that this chunk makes; features come in pieces, those that lie
// one after the other in memory as one.
template <typename Work>
void Run::by_rows(const Step& step, const Work& work) const {
  const int input = step.inputs[0];
  if (!lifetimes_.features(input)) return work(rows_of(input), 0, count(value(step.out)));
  const std::vector<Index::Span>& spans = spans_of(input);
  for (auto span = spans.begin(); span != spans.end();) {
    const Rows in = features_of(input, *span);
    const int row = span->row;
    int rows = 0;
    do {
      rows += span++->count;
    } while (span != spans.end() && features_of(input, *span).data == from(in, rows).data);
    work(in, row, rows);
  }
}

const int* Run::slot(const Step& step, std::size_t attribute) const {
  const auto found = std::find(slot_counts_.begin(), slot_counts_.end(), step.number(attribute));
  return index_.slot[static_cast<std::size_t>(found - slot_counts_.begin())];
}

// Ids of every row of a value, which of features may lie in pieces.
std::vector<std::int32_t> Run::ids_of(int input) const {
  const int all = chunk_->shape.rows(value(input));
  std::vector<std::int32_t> ids(static_cast<std::size_t>(all));
  const auto copy = [&](const Rows& in, int row, int rows) {
    std::copy_n(static_cast<const std::int32_t*>(in.data), rows, ids.begin() + row);
  };
  if (!lifetimes_.features(input)) {
    copy(rows_of(input), 0, all);
  } else {
    for (const Index::Span& span : spans_of(input)) copy(features_of(input, span), span.row, span.count);
  }
  return ids;
}

// Where the rows of every sequence begin, past the prefix.
const int* Run::begin_of(const Value& value) const {
  if (value.space == Space::sequences) return index_.each;
  return value.space == Space::source ? index_.source : index_.begin;
}

// The prefix rows of every sequence, which begin the result's tokens.
void Run::copy_prefix(const Step& step, std::size_t weight) const {
  const Rows out = rows_of(step.out);
  const auto bytes = step.weights[weight];
  for (std::ptrdiff_t b = 0; b < chunk_->shape.sequences; ++b) {
    std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(from(out, b * value(step.out).prefix).data));
  }
}

void Run::features(const Step&, void*) const {}  // read where they are

void Run::select(const Step&, void*) const {}  // a view

void Run::cast(const Step& step, void*) const {
  const Rows out = rows_of(step.out);
  by_rows(step,
          [&](const Rows& in, int row, int rows) { ops_.cast({in, from(out, row), value(step.out).width}, rows); });
}

void Run::windows(const Step& step, void*) const {
  const int input = step.inputs[0];
  const Rows out = rows_of(step.out);
  const auto bytes = static_cast<std::size_t>(value(step.out).width) * static_cast<std::size_t>(bytes_of(out.type));
  const auto source = [&](int row) {
    if (!lifetimes_.features(input)) return from(rows_of(input), row);
    const auto before = [](int r, const Index::Span& span) { return r < span.row; };
    const auto& span = *std::prev(std::upper_bound(index_.spans.begin(), index_.spans.end(), row, before));
    return from(features_of(input, span), row - span.row);
  };
  for (int r = 0; r < chunk_->shape.latents; ++r) std::memcpy(from(out, r).data, source(index_.row[r]).data, bytes);
}

void Run::linear(const Step& step, void*) const {
  const Rows out = rows_of(step.out);
  const auto activation = static_cast<cpu::Activation>(step.attributes[1]);
  by_rows(step, [&](const Rows& in, int row, int rows) {
    const ConstRows residual = step.inputs.size() == 2 ? ConstRows(from(rows_of(step.inputs[1]), row)) : ConstRows{};
    ops_.linear({in, step.weights[0].data(), residual, from(out, row), value(step.out).width,
                 value(step.inputs[0]).width, activation},
                rows);
  });
}

void Run::head_linear(const Step& step, void*) const {
  const Rows in = rows_of(step.inputs[0]);
  const Rows out = rows_of(step.out);
  const int heads = step.number(1);
  const int n = value(step.out).width / heads;
  const int k = value(step.inputs[0]).width / heads;
  const std::size_t packed = step.weights[0].size() / static_cast<std::size_t>(heads);
  for (int h = 0; h < heads; ++h) {
    const std::byte* weight = step.weights[0].data() + static_cast<std::size_t>(h) * packed;
    ops_.linear({from(in, 0, h * k), weight, {}, from(out, 0, h * n), n, k, cpu::Activation::none},
                count(value(step.out)));
  }
}

void Run::layer_norm(const Step& step, void*) const {
  ops_.layer_norm(
      {rows_of(step.inputs[0]), step.floats(0), step.floats(1), rows_of(step.out), value(step.out).width, step.real(0)},
      count(value(step.out)));
}

void Run::add_table(const Step& step, void*) const {
  const bool shots = value(step.inputs[0]).space == Space::shots;
  const bool by_slot = static_cast<Place>(step.attributes[0]) == Place::slot;
  ops_.add_table({rows_of(step.inputs[0]), shots ? index_.row : nullptr, by_slot ? slot(step, 1) : index_.place,
                  step.floats(0), rows_of(step.out), value(step.out).width},
                 chunk_->shape.latents);
}

void Run::prepend(const Step& step, void*) const {
  const Value& own = value(step.out);
  copy_prefix(step, 0);
  const std::ptrdiff_t front = static_cast<std::ptrdiff_t>(chunk_->shape.sequences) * own.prefix;
  ops_.copy(rows_of(step.inputs[0]), from(rows_of(step.out), front), chunk_->shape.latents, own.width);
}

void Run::embed(const Step& step, void*) const {
  const Value& own = value(step.out);
  copy_prefix(step, 4);
  const std::ptrdiff_t front = static_cast<std::ptrdiff_t>(chunk_->shape.sequences) * own.prefix;
  ops_.embed(embed_args(step, own.width, from(rows_of(step.out), front), nullptr), chunk_->shape.latents);
}

void Run::inverse_std(const Step& step, void*) const {
  const int width = value(step.inputs[0]).width;
  ops_.embed(embed_args(step, width, {}, static_cast<float*>(rows_of(step.out).data)), chunk_->shape.latents);
}

cpu::EmbedArgs Run::embed_args(const Step& step, int width, const Rows& out, float* inverse_std) const {
  const bool shots = value(step.inputs[0]).space == Space::shots;
  const bool scaled = step.op == Op::embed;
  return {static_cast<const float*>(rows_of(step.inputs[0]).data),
          shots ? index_.row : nullptr,
          index_.place,
          slot(step, 1),
          step.floats(0),
          step.floats(1),
          scaled ? step.floats(2) : nullptr,
          scaled ? step.floats(3) : nullptr,
          out,
          inverse_std,
          width,
          step.real(0)};
}

void Run::merge(const Step& step, void*) const {
  const Value& own = value(step.out);
  const Rows out = rows_of(step.out);
  const auto row_bytes = static_cast<std::size_t>(own.width) * static_cast<std::size_t>(bytes_of(own.type));
  for (std::ptrdiff_t b = 0; b < chunk_->shape.sequences; ++b) {
    std::ptrdiff_t row = b * own.prefix;
    for (const int input : step.inputs) {
      const Rows in = rows_of(input);
      for (std::ptrdiff_t t = 0; t < value(input).prefix; ++t) {
        std::memcpy(from(out, row++).data, from(in, b * value(input).prefix + t).data, row_bytes);
      }
    }
  }
}

void Run::join(const Step& step, void*) const {
  const Value& own = value(step.out);
  const Rows out = rows_of(step.out);
  const int front = chunk_->shape.sequences * own.prefix;
  ops_.copy(rows_of(step.inputs[0]), out, front, own.width);
  ops_.copy(rows_of(step.inputs[1]), from(out, front), chunk_->shape.latents, own.width);
}

cpu::AttentionArgs Run::attention_args(const Step& step) const {
  const Value& own = value(step.out);
  const Rows kv = rows_of(step.inputs[1]);
  const int heads = step.number(0);
  return {.q = rows_of(step.inputs[0]),
          .k = kv,
          .v = from(kv, 0, own.width),
          .out = rows_of(step.out),
          .product = product_of(step),
          .batch = chunk_->shape.sequences,
          .heads = heads,
          .head_size = own.width / heads,
          .query_prefix = own.prefix,
          .query_begin = begin_of(own),
          .prefix = value(step.inputs[1]).prefix,
          .begin = begin_of(value(step.inputs[1])),
          .scale = softmax_scale(own.width, heads)};
}

void Run::attention(const Step& step, void* scratch) const { ops_.attention(attention_args(step), scratch); }

void Run::window_attention(const Step& step, void* scratch) const {
  const Value& own = value(step.out);
  const int heads = step.number(0);
  ops_.window_attention({.shot = static_cast<const float*>(rows_of(step.inputs[0]).data),
                         .row = index_.row,
                         .position = step.floats(0),
                         .shift = step.floats(1),
                         .prefix_rows = step.floats(2),
                         .inverse_std = static_cast<const float*>(rows_of(step.inputs[1]).data),
                         .out = rows_of(step.out),
                         .windows = chunk_->shape.sequences,
                         .length = program_.sequences.length,
                         .prefix = own.prefix,
                         .heads = heads,
                         .head_size = own.width / heads,
                         .scale = softmax_scale(own.width, heads)},
                        scratch);
}

void Run::query_attention(const Step& step, void* scratch) const {
  const Value& prefix = value(step.inputs[1]);
  const int heads = step.number(0);
  ops_.query_attention({.query = static_cast<const float*>(rows_of(step.inputs[0]).data),
                        .prefix_rows = rows_of(step.inputs[1]),
                        .latent_rows = rows_of(step.inputs[2]),
                        .out = rows_of(step.out),
                        .heads = heads,
                        .size = prefix.width,
                        .prefix = prefix.prefix,
                        .latents = program_.sequences.length,
                        .scale = softmax_scale(prefix.width, heads)},
                       chunk_->shape.sequences, scratch);
}

void Run::add(const Step& step, void*) const {
  std::vector<ConstRows> in;
  for (const int input : step.inputs) in.push_back(rows_of(input));
  ops_.add({in.data(), static_cast<int>(in.size()), step.weights.empty() ? nullptr : step.floats(0), rows_of(step.out),
            value(step.out).width},
           count(value(step.out)));
}

void Run::pool(const Step& step, void*) const {
  const Value& in = value(step.inputs[0]);
  const std::ptrdiff_t front = static_cast<std::ptrdiff_t>(chunk_->shape.sequences) * in.prefix;
  std::vector<std::int32_t> group;  // of each latent
  if (step.inputs.size() > 1) group = ids_of(step.inputs[1]);
  ops_.pool({from(rows_of(step.inputs[0]), front), index_.begin, group.empty() ? nullptr : group.data(),
             rows_of(step.out), step.number(1), in.width, static_cast<Pooling>(step.attributes[0]) == Pooling::mean},
            chunk_->shape.sequences);
}

void Run::l2_normalise(const Step& step, void*) const {
  ops_.l2_normalise({rows_of(step.inputs[0]), rows_of(step.out), value(step.out).width, step.real(0)},
                    count(value(step.out)));
}

void Run::gather(const Step& step, void*) const {
  const Rows out = rows_of(step.out);
  const int width = value(step.out).width;
  const auto rows_of_table = static_cast<int>(step.weights[0].size() / (static_cast<std::size_t>(width) * 4));
  by_rows(step, [&](const Rows& in, int row, int rows) {
    ops_.gather({in, step.floats(0), from(out, row), rows_of_table, width}, rows);
  });
}

void Run::concat(const Step& step, void*) const {
  const Rows out = rows_of(step.out);
  int column = 0;
  for (const int input : step.inputs) {
    const int width = value(input).width;
    ops_.copy(rows_of(input), from(out, 0, column), count(value(step.out)), width);
    column += width;
  }
}

void Run::scatter_mean(const Step& step, void*) const {
  const std::vector<std::int32_t> places = ids_of(step.inputs[1]);
  ops_.scatter_mean(
      {rows_of(step.inputs[0]), places.data(), index_.source, index_.begin, rows_of(step.out), value(step.out).width},
      chunk_->shape.sequences);
}

}  // namespace megaseg
