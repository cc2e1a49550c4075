// What a step does at least, of the rows of a chunk.
#include "core/run/profile.h"

#include "core/run/run.h"

namespace megaseg {
namespace {

double bytes_of_rows(const Value& value, int rows) {
  return static_cast<double>(rows) * value.width * cpu::bytes_of(value.type);
}

}  // namespace

cpu::Type product_of(const Program& program, const Step& step) {
  switch (step.op) {
    case Op::linear:
    case Op::head_linear: return static_cast<cpu::Type>(step.attributes[0]);
    case Op::attention: return static_cast<cpu::Type>(step.attributes[1]);
    case Op::window_attention: return program.value(step.out).type;
    default: return cpu::Type::float32;
  }
}

Cost Run::cost(const Step& step) const {
  if (step.op == Op::features || step.op == Op::select) return {};  // views
  const Value& out = value(step.out);
  Cost cost{count(out), operations(step), 0, bytes_of_rows(out, count(out)), 0};
  for (const int input : step.inputs) cost.read += bytes_of_rows(value(input), count(value(input)));
  for (const auto& weight : step.weights) cost.weights += static_cast<double>(weight.size());
  return cost;
}

// Of products alone: two for each pair of elements.
double Run::operations(const Step& step) const {
  const Value& out = value(step.out);
  const double sequences = chunk_->shape.sequences;
  switch (step.op) {
    case Op::linear: return 2.0 * count(out) * out.width * value(step.inputs[0]).width;
    case Op::head_linear: return 2.0 * count(out) * out.width * value(step.inputs[0]).width / step.number(1);
    case Op::attention: {
      const cpu::AttentionArgs args = attention_args(step);
      double pairs = 0;
      for (int b = 0; b < args.batch; ++b) pairs += static_cast<double>(args.queries(b)) * args.keys(b);
      return 4.0 * pairs * out.width;
    }
    case Op::window_attention: {
      const double tokens = out.prefix + program_.sequences.length;
      return 4.0 * sequences * tokens * tokens * out.width;
    }
    case Op::query_attention: {
      const double tokens = value(step.inputs[1]).prefix + program_.sequences.length;
      return 4.0 * sequences * tokens * out.width;  // out: a row of each head
    }
    default: return 0;
  }
}

}  // namespace megaseg
