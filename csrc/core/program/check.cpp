#include <cmath>
#include <set>
#include <string>

#include "core/error.h"
#include "core/program/program.h"

namespace megaseg {
namespace {

constexpr std::size_t kMostRows = std::size_t{1} << 30;  // of a table

bool wide(const Value& v) { return v.type == cpu::Type::float32 || v.type == cpu::Type::bfloat16; }
bool exact(const Value& v) { return v.type == cpu::Type::float32; }
bool same_rows(const Value& a, const Value& b) { return a.space == b.space && a.prefix == b.prefix; }
bool same_size(const Value& a, const Value& b) { return same_rows(a, b) && a.width == b.width; }
bool same_kind(const Value& a, const Value& b) { return a.width == b.width && a.type == b.type; }

// One step's demands on its values, attributes and weights.
class StepCheck {
 public:
  // `makers` are the steps that made the values so far.
  StepCheck(const Program& program, const cpu::KernelTable& kernels, const std::vector<const Step*>& makers,
            std::size_t index)
      : program_(program), kernels_(kernels), makers_(makers), step_(program.steps[index]), index_(index) {}

  void run() const {
    result();
    switch (step_.op) {
#define MEGASEG_OP(name) \
  case Op::name: return name();
      MEGASEG_OPS(MEGASEG_OP)
#undef MEGASEG_OP
    }
  }

 private:
  const Value& out() const { return program_.value(step_.out); }
  const Value& in(std::size_t i) const { return program_.value(step_.inputs[i]); }
  Op maker(std::size_t i) const { return makers_[static_cast<std::size_t>(step_.inputs[i])]->op; }
  bool windowed() const { return program_.sequences.windowed(); }
  long length() const { return program_.sequences.length; }

  void require(bool fits, const char* what) const {
    if (!fits) throw BadArtefact("program: step " + std::to_string(index_) + ": expected " + what);
  }
  void counts(std::size_t inputs, std::size_t attributes, std::size_t weights) const {
    require(step_.inputs.size() == inputs && step_.attributes.size() == attributes && step_.weights.size() == weights,
            "another number of inputs, attributes or weights");
  }
  void floats(std::size_t i, long rows, long columns) const {
    require(step_.weights[i].size() == static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * 4,
            "a weight of another size");
  }
  void prefix_rows(std::size_t i) const {
    require(step_.weights[i].size() == static_cast<std::size_t>(out().prefix) * static_cast<std::size_t>(out().width) *
                                           static_cast<std::size_t>(cpu::bytes_of(out().type)),
            "prefix rows of the result's type");
  }
  cpu::Type product(std::size_t attribute) const {
    const std::uint32_t value = step_.attributes[attribute];
    require(value < cpu::kTypes && kernels_.types[value], "a compute type of the target");
    return static_cast<cpu::Type>(value);
  }
  int heads(std::size_t attribute, int width) const {
    const std::uint32_t heads = step_.attributes[attribute];
    require(heads > 0 && static_cast<std::uint32_t>(width) % heads == 0, "a width split in heads");
    return static_cast<int>(heads);
  }
  void eps(std::size_t attribute) const {
    const float value = step_.real(attribute);
    require(value > 0 && std::isfinite(value), "a positive eps");
  }
  long slots(std::size_t attribute) const {
    const std::uint32_t value = step_.attributes[attribute];
    require(value > 0 && value <= kMostRows, "a number of slots");
    return static_cast<long>(value);
  }

  // What holds for every result and input, whatever the op.
  void result() const {
    require(out().width > 0, "a width");
    require(out().prefix == 0 || out().space == Space::prefix || out().space == Space::tokens,
            "prefix tokens in spaces that hold any");
    require(out().space != Space::shots || windowed(), "rows of shots only in a model of windows");
    require(out().space != Space::source || program_.has_source(), "rows of a second stream where inputs have one");
    const auto type = static_cast<std::uint32_t>(out().type);
    require(out().type == cpu::Type::int32 || kernels_.types[type], "a type of the target");
    require(out().type != cpu::Type::int32 || step_.op == Op::features || step_.op == Op::windows,
            "ids from features alone");
    require(!cpu::has_grids(out().type) || step_.op == Op::cast ||
                (step_.op == Op::linear && out().type == cpu::Type::int8),
            "rows on grids from casts, int8 rows from linear layers too");
    for (std::size_t i = 0; i < step_.inputs.size(); ++i) {
      const bool first =
          step_.op == Op::cast || step_.op == Op::linear || step_.op == Op::windows || step_.op == Op::gather;
      const bool second = step_.op == Op::pool || step_.op == Op::scatter_mean;
      require(maker(i) != Op::features || (i == 0 ? first : second),
              "other rows: features are read by casts, linear layers, windows, gathers and as groups and places");
    }
  }

  void features() const {
    counts(0, 1, 0);
    require(step_.attributes[0] < program_.inputs.size(), "an input of the model");
    const Input& input = program_.inputs[step_.attributes[0]];
    require(out().width == input.feature_size && out().type == input.type, "the input's features");
    const Space rows = windowed() ? Space::shots : input.source ? Space::source : Space::latents;
    require(out().space == rows, "a row per shot, or those of the second stream");
  }
  void cast() const {
    counts(1, 0, 0);
    require(same_size(in(0), out()) && wide(in(0)), "the same values");
  }
  void windows() const {
    counts(1, 0, 0);
    require(in(0).space == Space::shots && out().space == Space::latents && same_kind(in(0), out()),
            "rows of shots to rows of latents");
  }
  void linear() const {
    require(step_.inputs.size() == 1 || step_.inputs.size() == 2, "an input, and perhaps a residual");
    counts(step_.inputs.size(), 2, 1);
    const cpu::Type type = product(0);
    require(step_.attributes[1] < cpu::kActivations, "an activation");
    require(out().type != cpu::Type::int8 || type == cpu::Type::int8, "int8 rows from int8 products");
    require(in(0).type == type && same_rows(in(0), out()), "rows of the product's type");
    require(step_.weights[0].size() == kernels_.linear_packed_size(type, out().width, in(0).width),
            "a packed weight of that size");
    if (step_.inputs.size() == 2) require(same_size(in(1), out()) && wide(in(1)), "a residual like the result");
  }
  void head_linear() const {
    counts(1, 2, 1);
    const cpu::Type type = product(0);
    const int count = heads(1, in(0).width);
    heads(1, out().width);
    require(in(0).type == type && type != cpu::Type::int8 && same_rows(in(0), out()),
            "rows of the product's type, split in heads");
    require(step_.weights[0].size() == static_cast<std::size_t>(count) *
                                           kernels_.linear_packed_size(type, out().width / count, in(0).width / count),
            "packed weights of that size");
  }
  void layer_norm() const {
    counts(1, 1, 2);
    eps(0);
    require(same_size(in(0), out()) && wide(in(0)), "the same rows");
    floats(0, 1, out().width);
    floats(1, 1, out().width);
  }
  void add_table() const {
    counts(1, 2, 1);
    require(step_.attributes[0] <= static_cast<std::uint32_t>(Place::slot), "a table by position or slot");
    const bool by_slot = static_cast<Place>(step_.attributes[0]) == Place::slot;
    require(by_slot || step_.attributes[1] == 0, "no slots of a table by position");
    require((in(0).space == Space::latents || in(0).space == Space::shots) && out().space == Space::latents &&
                in(0).width == out().width && wide(in(0)),
            "rows of shots or latents to rows of latents");
    floats(0, by_slot ? slots(1) : length(), out().width);
  }
  void prepend() const {
    counts(1, 0, 1);
    require(in(0).space == Space::latents && out().space == Space::tokens && same_kind(in(0), out()),
            "rows of latents to rows of tokens");
    prefix_rows(0);
  }
  void embed() const {
    counts(1, 2, 5);
    eps(0);
    require(out().space == Space::tokens && in(0).width == out().width && exact(in(0)) &&
                (in(0).space == Space::latents || in(0).space == Space::shots),
            "projected features to tokens");
    floats(0, length(), out().width);
    floats(1, slots(1), out().width);
    floats(2, 1, out().width);
    floats(3, 1, out().width);
    prefix_rows(4);
  }
  void inverse_std() const {
    counts(1, 2, 2);
    eps(0);
    require(in(0).space == Space::shots && exact(in(0)) && out().space == Space::latents && exact(out()) &&
                out().width == 1,
            "projected features of shots");
    floats(0, length(), in(0).width);
    floats(1, slots(1), in(0).width);
  }
  void select() const {
    counts(1, 0, 0);
    const bool tokens = in(0).space == Space::tokens;
    const bool latents = in(0).space == Space::latents;
    const bool one = in(0).space == Space::prefix && in(0).prefix == 1;  // and so a row a sequence
    const bool fits = out().space == Space::prefix ? (tokens || latents) && in(0).prefix == out().prefix
                      : out().space == Space::latents
                          ? tokens
                          : out().space == Space::sequences && (one || (windowed() && (tokens || latents)));
    require(fits && same_kind(in(0), out()), "rows of a smaller space");
  }
  void merge() const {
    counts(step_.inputs.size(), 0, 0);
    long prefix = 0;
    for (std::size_t i = 0; i < step_.inputs.size(); ++i) {
      require(in(i).space == Space::prefix && same_kind(in(i), out()), "prefix tokens");
      prefix += in(i).prefix;
    }
    require(out().space == Space::prefix && prefix == out().prefix, "all of them together");
  }
  void join() const {
    counts(2, 0, 0);
    require(in(0).space == Space::prefix && in(1).space == Space::latents && out().space == Space::tokens &&
                in(0).prefix == out().prefix && same_kind(in(0), out()) && same_kind(in(1), out()),
            "prefix tokens and latents");
  }
  void attention() const {
    counts(2, 2, 0);
    heads(0, out().width);
    const cpu::Type type = product(1);
    require(type == out().type || type == cpu::Type::int8, "products of the rows' type, or int8");
    require(same_size(in(0), out()) && in(1).width == 2L * out().width &&
                (in(1).space == Space::tokens || in(1).space == Space::latents || in(1).space == Space::source) &&
                in(0).type == out().type && in(1).type == out().type,
            "queries, and keys beside values");
    require(out().space != Space::shots && out().space != Space::prefix,
            "queries of tokens, latents, sequences or the second stream");
    require(out().space != Space::tokens || (out().prefix == in(1).prefix && in(1).space != Space::source),
            "queries of the same tokens");
  }
  void window_attention() const {
    counts(2, 1, 3);
    heads(0, out().width);
    const long wide_row = 3L * out().width;
    require(in(0).space == Space::shots && in(0).width == wide_row && exact(in(0)) && in(1).space == Space::latents &&
                in(1).width == 1 && exact(in(1)) && out().space == Space::tokens,
            "a table of shots and a scale of latents");
    floats(0, length(), wide_row);
    floats(1, 1, wide_row);
    floats(2, out().prefix, wide_row);
  }
  void query_attention() const {
    counts(3, 1, 0);
    const int size = in(1).width;
    const std::uint32_t count = step_.attributes[0];
    require(count > 0 && static_cast<std::uint32_t>(size) % count == 0, "a width split in heads");
    require(windowed() && maker(0) != Op::select && in(0).space == Space::sequences && exact(in(0)) &&
                static_cast<long>(in(0).width) == static_cast<long>(size) * static_cast<long>(count) &&
                in(1).space == Space::prefix && in(2).space == Space::latents && same_kind(in(1), in(2)) &&
                wide(in(1)) && same_size(in(0), out()),
            "a query of its own per head, prefix tokens and latents");
  }
  void add() const {
    require(!step_.inputs.empty() && step_.weights.size() <= 1, "rows to add, and perhaps a bias");
    counts(step_.inputs.size(), 0, step_.weights.size());
    for (std::size_t i = 0; i < step_.inputs.size(); ++i) {
      require(same_size(in(i), out()) && wide(in(i)), "float32 or bfloat16 rows of one size");
    }
    require(exact(out()), "a float32 sum");
    if (!step_.weights.empty()) floats(0, 1, out().width);
  }
  void pool() const {
    require(step_.inputs.size() == 1 || step_.inputs.size() == 2, "rows, and perhaps the group of each");
    counts(step_.inputs.size(), 2, 0);
    require(step_.attributes[0] <= static_cast<std::uint32_t>(Pooling::first), "a mean or the first row");
    const std::uint32_t groups = step_.attributes[1];
    require(groups > 0 && static_cast<std::uint64_t>(in(0).width) * groups == static_cast<std::uint64_t>(out().width),
            "a width for each group");
    require((in(0).space == Space::latents || in(0).space == Space::tokens) && out().space == Space::sequences &&
                wide(in(0)),
            "rows of every sequence to one");
    const bool grouped = step_.inputs.size() == 2;
    require(grouped ? static_cast<Pooling>(step_.attributes[0]) == Pooling::mean : groups == 1, "groups of a mean");
    if (grouped) {
      require(in(1).type == cpu::Type::int32 && in(1).width == 1 && in(1).space == Space::latents, "a group a latent");
    }
  }
  void l2_normalise() const {
    counts(1, 1, 0);
    eps(0);
    require(same_size(in(0), out()) && wide(in(0)), "the same rows");
  }
  void gather() const {
    counts(1, 0, 1);
    require(in(0).type == cpu::Type::int32 && in(0).width == 1 && same_rows(in(0), out()), "a row per id");
    const std::size_t row = static_cast<std::size_t>(out().width) * 4;
    const std::size_t rows = step_.weights[0].size() / row;
    require(rows > 0 && rows <= kMostRows && step_.weights[0].size() % row == 0, "a table of whole rows");
  }
  void concat() const {
    counts(step_.inputs.size(), 0, 0);
    long width = 0;
    for (std::size_t i = 0; i < step_.inputs.size(); ++i) {
      require(same_rows(in(i), out()) && wide(in(i)) && in(i).type == out().type,
              "float32 or bfloat16 rows of one type");
      width += in(i).width;
    }
    require(width == out().width, "the columns of all inputs");
  }
  void scatter_mean() const {
    counts(2, 0, 0);
    require(in(0).space == Space::source && wide(in(0)) && in(0).width == out().width &&
                out().space == Space::latents && exact(out()),
            "rows of the second stream to float32 means of latents");
    require(in(1).type == cpu::Type::int32 && in(1).width == 1 && in(1).space == Space::source, "a place a row");
  }

  const Program& program_;
  const cpu::KernelTable& kernels_;
  const std::vector<const Step*>& makers_;
  const Step& step_;
  std::size_t index_;
};

void require(bool fits, const std::string& what) {
  if (!fits) throw BadArtefact("program: " + what);
}

void check_header(const Program& program) {
  const auto& [kind, length, step] = program.sequences;
  require(length > 0, "sequences: expected a positive length, got " + std::to_string(length));
  const bool windows = kind == Sequences::Kind::windows;
  require(!windows || length % 2 == 1, "sequences: expected windows of odd length, got " + std::to_string(length));
  require(step == (windows ? 1 : 0),
          "sequences: expected " + std::string(windows ? "step 1" : "no step") + ", got " + std::to_string(step));
  require(!program.inputs.empty() && !program.outputs.empty(), "expected inputs and outputs");
  std::set<std::string> names;
  for (const Input& input : program.inputs) {
    require(input.feature_size > 0, input.name + ": expected features of a positive size");
    require(input.type != cpu::Type::int32 || input.feature_size == 1, input.name + ": expected one id a row");
    require(names.insert(input.name).second, input.name + ": expected inputs of different names");
    require(!input.source || !windows, input.name + ": expected a second stream of whole sequences alone");
  }
  require(!program.inputs[0].source, program.inputs[0].name + ": expected a row per shot of the first input");
  names.clear();
  for (const auto& [name, text] : program.properties) {
    require(!name.empty() && names.insert(name).second, "expected properties of different names");
  }
}

void check_outputs(const Program& program, const std::vector<const Step*>& makers) {
  std::set<std::string> names;
  for (const Output& output : program.outputs) {
    require(names.insert(output.name).second, output.name + ": expected outputs of different names");
    const Value& value = program.value(output.value);
    require(value.space == Space::sequences || (value.space == Space::latents && !program.sequences.windowed()),
            output.name + ": expected a row per shot or sequence");
    std::vector<int> all{output.value};
    all.insert(all.end(), output.parts.begin(), output.parts.end());
    for (const int index : all) {
      const Step* maker = makers[static_cast<std::size_t>(index)];
      require(maker && maker->op != Op::features, output.name + ": expected values that a step makes");
      require(same_size(program.value(index), value) && exact(program.value(index)),
              output.name + ": expected float32 rows, parts of the same size");
    }
  }
}

}  // namespace

void check_program(const Program& program, const cpu::KernelTable& kernels) {
  check_header(program);
  std::vector<const Step*> makers(program.values.size());
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    const std::string at = "step " + std::to_string(i);
    for (const int input : step.inputs) {
      require(makers[static_cast<std::size_t>(input)], at + " reads a value before it is made");
    }
    require(!makers[static_cast<std::size_t>(step.out)], at + " makes a value again");
    StepCheck(program, kernels, makers, i).run();
    makers[static_cast<std::size_t>(step.out)] = &step;
  }
  check_outputs(program, makers);
}

}  // namespace megaseg
