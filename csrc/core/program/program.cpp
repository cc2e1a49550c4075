#include "core/program/program.h"

#include <algorithm>

namespace megaseg {

const std::string* Program::property(const char* name) const {
  for (const auto& [own, text] : properties) {
    if (own == name) return &text;
  }
  return nullptr;
}

const Output* Program::output(const std::string& name) const {
  for (const Output& own : outputs) {
    if (own.name == name) return &own;
  }
  return nullptr;
}

bool Program::by_shot(const Output& output) const {
  return sequences.windowed() || value(output.value).space != Space::sequences;
}

bool Program::has_source() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const Input& input) { return input.source; });
}

int Program::most_prefix() const {
  int most = 0;
  for (const Value& value : values) most = std::max(most, value.prefix);
  return most;
}

std::vector<bool> Program::steps_to(const std::vector<int>& made) const {
  std::vector<bool> wanted(values.size());
  for (const int index : made) wanted[static_cast<std::size_t>(index)] = true;
  std::vector<bool> needed(steps.size());
  for (std::size_t i = steps.size(); i-- > 0;) {
    needed[i] = wanted[static_cast<std::size_t>(steps[i].out)];
    if (!needed[i]) continue;
    for (const int input : steps[i].inputs) wanted[static_cast<std::size_t>(input)] = true;
  }
  return needed;
}

std::vector<int> Program::slot_counts() const {
  std::vector<int> counts;
  for (const Step& step : steps) {
    const bool by_slot = step.op == Op::add_table && static_cast<Place>(step.attributes[0]) == Place::slot;
    if (by_slot || step.op == Op::embed || step.op == Op::inverse_std) counts.push_back(step.number(1));
  }
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts;
}

std::vector<int> Program::id_limits() const {
  std::vector<int> limits(inputs.size());
  std::vector<int> input_of(values.size(), -1);
  const auto limit = [&](int input, int most) {
    if (input < 0) return;
    int& own = limits[static_cast<std::size_t>(input)];
    own = own ? std::min(own, most) : most;
  };
  for (const Step& step : steps) {
    if (step.op == Op::features) input_of[static_cast<std::size_t>(step.out)] = step.number(0);
    if (step.inputs.empty()) continue;
    const int input = input_of[static_cast<std::size_t>(step.inputs.back())];
    if (step.op == Op::windows) input_of[static_cast<std::size_t>(step.out)] = input;
    if (step.op == Op::pool && step.inputs.size() > 1) limit(input, step.number(1));
    if (step.op == Op::gather) {
      limit(input, static_cast<int>(step.weights[0].size() / (static_cast<std::size_t>(value(step.out).width) * 4)));
    }
  }
  return limits;
}

}  // namespace megaseg
