#include "core/memory/lifetimes.h"

namespace megaseg {

Lifetimes::Lifetimes(const Program& program)
    : base_(program.values.size()),
      front_(program.values.size()),
      end_(program.values.size()),
      features_(program.values.size()),
      cached_(program.values.size()),
      cacheable_(program.sequences.windowed()) {
  const auto used_until = [&](int value, std::size_t step) { end_[static_cast<std::size_t>(base(value))] = step; };
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    const auto out = static_cast<std::size_t>(step.out);
    base_[out] = step.op == Op::select ? base(step.inputs[0]) : step.out;
    front_[out] = step.op == Op::select && (program.value(step.out).space == Space::prefix ||
                                            program.value(step.inputs[0]).space == Space::prefix ||
                                            front_[static_cast<std::size_t>(step.inputs[0])]);
    features_[out] = step.op == Op::features;
    used_until(step.out, i);
    for (const int input : step.inputs) used_until(input, i);
  }
  for (const Output& output : program.outputs) {
    used_until(output.value, program.steps.size());
    for (const int part : output.parts) used_until(part, program.steps.size());
  }
  find_cached(program);
}

void Lifetimes::find_cached(const Program& program) {
  for (const Step& step : program.steps) {
    for (const int input : step.inputs) {
      const bool leaves = program.value(input).space == Space::shots && program.value(step.out).space != Space::shots;
      if (leaves && stored(input)) cached_[static_cast<std::size_t>(input)] = true;
      if (leaves && !stored(input)) cacheable_ = false;
    }
  }
  for (const Step& step : program.steps) {
    if (!cached(step.out)) continue;
    const Value& value = program.value(step.out);
    const auto bytes = static_cast<std::size_t>(value.width) * static_cast<std::size_t>(cpu::bytes_of(value.type));
    cached_rows_.push_back({step.out, record_bytes_, bytes});
    record_bytes_ += bytes;
  }
}

}  // namespace megaseg
