#include "core/program/program.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"

namespace megaseg {
namespace {

constexpr std::uint32_t kMostCount = 1U << 20;  // of values, steps, words of a name: far beyond any model
constexpr std::uint32_t kMostSize = 1U << 28;

bool is_word(long code) {
  return ('a' <= code && code <= 'z') || ('A' <= code && code <= 'Z') || ('0' <= code && code <= '9') || code == '_' ||
         code == '-';
}

// Beyond ASCII: neither a control character nor one that changes how others are shown.
bool is_shown(long code) {
  return code > 0xA0 && !(0x2000 <= code && code <= 0x206F) && code != 0xAD && code != 0x61C && code != 0xFEFF;
}

// The code point at `at`, which goes on to the next; -1 where there is no UTF-8.
long code_point(const std::string& text, std::size_t& at) {
  const auto next = [&] { return at < text.size() ? static_cast<unsigned char>(text[at++]) : 0U; };
  const unsigned first = next();
  if (first < 0x80) return static_cast<long>(first);
  if (first < 0xC2 || first > 0xF4) return -1;
  const int more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
  long code = static_cast<long>(first & (0x3FU >> more));
  for (int i = 0; i < more; ++i) {
    const unsigned byte = next();
    if ((byte & 0xC0U) != 0x80) return -1;
    code = code << 6 | static_cast<long>(byte & 0x3FU);
  }
  constexpr long kLeast[] = {0, 0x80, 0x800, 0x10000};
  const bool surrogate = 0xD800 <= code && code <= 0xDFFF;
  return code < kLeast[more] || code > 0x10FFFF || surrogate ? -1 : code;
}

// Words in order; refuses to read past their end.
class Reader {
 public:
  explicit Reader(std::span<const std::uint32_t> words) : words_(words) {}

  std::uint32_t word() {
    if (at_ == words_.size()) throw BadArtefact("program: expected more words, got " + std::to_string(at_));
    return words_[at_++];
  }
  std::uint32_t below(std::uint32_t limit, const char* what) {
    const std::uint32_t value = word();
    if (value >= limit) {
      throw BadArtefact(std::string("program: ") + what + " " + std::to_string(value) + ": expected less than " +
                        std::to_string(limit));
    }
    return value;
  }
  int size(const char* what) { return static_cast<int>(below(kMostSize, what)); }
  float real() { return std::bit_cast<float>(word()); }
  std::uint64_t wide() {
    const std::uint64_t low = word();
    return low | std::uint64_t{word()} << 32;
  }
  std::string text() {
    std::string out(below(kMostCount, "length of a text"), '\0');
    for (std::size_t i = 0; i < out.size(); i += 4) {
      const std::uint32_t four = word();
      for (std::size_t j = i; j < std::min(out.size(), i + 4); ++j) out[j] = static_cast<char>(four >> (8 * (j - i)));
    }
    return out;
  }
  // A text that is safe to show: letters, digits, - and _; in ASCII alone if asked for.
  std::string name(const char* what, bool ascii) {
    std::string out = text();
    bool fits = !out.empty();
    for (std::size_t at = 0; fits && at < out.size();) {
      const long code = code_point(out, at);
      fits = is_word(code) || (!ascii && is_shown(code));
    }
    if (!fits) throw BadArtefact(std::string("program: ") + what + ": expected letters, digits, - and _");
    return out;
  }
  bool finished() const { return at_ == words_.size(); }

 private:
  std::span<const std::uint32_t> words_;
  std::size_t at_ = 0;
};

Step read_step(Reader& reader, std::size_t values, std::span<const std::byte> weights) {
  Step step{static_cast<Op>(reader.below(kOps, "op")),
            static_cast<int>(reader.below(static_cast<std::uint32_t>(values), "value")),
            {},
            {},
            {}};
  for (std::uint32_t left = reader.below(kMostCount, "inputs"); left > 0; --left) {
    step.inputs.push_back(static_cast<int>(reader.below(static_cast<std::uint32_t>(values), "value")));
  }
  for (std::uint32_t left = reader.below(kMostCount, "attributes"); left > 0; --left) {
    step.attributes.push_back(reader.word());
  }
  for (std::uint32_t left = reader.below(kMostCount, "weights"); left > 0; --left) {
    const std::uint64_t offset = reader.wide();
    const std::uint64_t size = reader.wide();
    if (offset % 64 != 0 || offset > weights.size() || size > weights.size() - offset) {
      throw BadArtefact("program: weights beyond the end of the file");
    }
    step.weights.push_back(weights.subspan(offset, size));
  }
  return step;
}

// One step's demands on its values, weights and attributes.
class StepCheck {
 public:
  StepCheck(const Program& program, const cpu::KernelTable& kernels, std::size_t index)
      : program_(program), kernels_(kernels), step_(program.steps[index]), index_(index) {}

  void run() const {
    switch (step_.op) {
      case Op::features: return features();
      case Op::cast: return cast();
      case Op::windows: return windows();
      case Op::linear: return linear();
      case Op::head_linear: return head_linear();
      case Op::layer_norm: return layer_norm();
      case Op::embed: return embed();
      case Op::inverse_sigma: return inverse_sigma();
      case Op::select: return select();
      case Op::merge: return merge();
      case Op::join: return join();
      case Op::attention: return attention();
      case Op::window_attention: return window_attention();
      case Op::query_attention: return query_attention();
      case Op::add: return add();
    }
  }

 private:
  const Value& out() const { return program_.value(step_.out); }
  const Value& in(std::size_t i) const { return program_.value(step_.inputs[i]); }

  void expect(bool fits, const char* what) const {
    if (!fits) throw BadArtefact("program: step " + std::to_string(index_) + ": expected " + what);
  }
  void counts(std::size_t inputs, std::size_t attributes, std::size_t weights) const {
    expect(step_.inputs.size() == inputs && step_.attributes.size() == attributes && step_.weights.size() == weights,
           "another number of inputs, attributes or weights");
  }
  void floats(std::size_t i, long rows, long columns) const {
    expect(step_.weights[i].size() == static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * 4,
           "a weight of another size");
  }
  static bool same_rows(const Value& a, const Value& b) { return a.space == b.space && a.tokens == b.tokens; }
  static bool wide(const Value& v) { return v.type != cpu::Type::int8; }  // float32 or bfloat16
  static bool exact(const Value& v) { return v.type == cpu::Type::float32; }
  int head_size() const { return out().width / program_.heads; }

  cpu::Type type(std::size_t attribute) const {
    const std::uint32_t value = step_.attributes[attribute];
    expect(value < cpu::kTypes && kernels_.types[value], "a compute type of the target");
    return static_cast<cpu::Type>(value);
  }

  void features() const {
    counts(0, 1, 0);
    expect(step_.attributes[0] < program_.modalities.size(), "a modality of the model");
    const int size = program_.modalities[step_.attributes[0]].feature_size;
    expect(out().width == size && exact(out()), "the modality's features");
    expect(out().space == (program_.windowed() ? Space::shots : Space::latents), "a row per shot");
  }
  void cast() const {
    counts(1, 0, 0);
    expect(same_rows(in(0), out()) && in(0).width == out().width && wide(in(0)), "the same values");
  }
  void windows() const {
    counts(1, 0, 0);
    expect(in(0).space == Space::shots && out().space == Space::latents && in(0).width == out().width &&
               in(0).type == out().type && wide(out()),
           "rows of shots to rows of latents");
  }
  void linear() const {
    expect(step_.inputs.size() == 1 || step_.inputs.size() == 2, "an input, and perhaps a residual");
    counts(step_.inputs.size(), 2, 1);
    const cpu::Type product = type(0);
    expect(step_.attributes[1] <= static_cast<std::uint32_t>(cpu::Activation::gelu), "an activation");
    expect(in(0).type == product && wide(out()) && same_rows(in(0), out()), "rows of the product's type");
    expect(step_.weights[0].size() == kernels_.linear_packed_size(product, out().width, in(0).width),
           "a packed weight of that size");
    if (step_.inputs.size() == 2) {
      expect(same_rows(in(1), out()) && in(1).width == out().width && wide(in(1)), "a residual like the result");
    }
  }
  void head_linear() const {
    counts(1, 1, 1);
    const cpu::Type product = type(0);
    const int heads = program_.heads;
    expect(in(0).type == product && product != cpu::Type::int8 && wide(out()) && same_rows(in(0), out()) &&
               in(0).width % heads == 0 && out().width % heads == 0,
           "rows of the product's type, split in heads");
    expect(
        step_.weights[0].size() == static_cast<std::size_t>(heads) *
                                       kernels_.linear_packed_size(product, out().width / heads, in(0).width / heads),
        "packed weights of that size");
  }
  void layer_norm() const {
    counts(1, 0, 2);
    expect(same_rows(in(0), out()) && in(0).width == out().width && wide(in(0)) && wide(out()), "the same rows");
    floats(0, 1, out().width);
    floats(1, 1, out().width);
  }
  void embed() const {
    counts(1, 0, 5);
    expect(out().space == Space::tokens && out().tokens > 0 && wide(out()) && in(0).width == out().width &&
               exact(in(0)) && (in(0).space == Space::latents || in(0).space == Space::shots),
           "projected features to tokens");
    floats(0, program_.max_length, out().width);
    floats(1, out().tokens, out().width);
    floats(2, 1, out().width);
    floats(3, 1, out().width);
    expect(step_.weights[4].size() == static_cast<std::size_t>(out().tokens) * static_cast<std::size_t>(out().width) *
                                          static_cast<std::size_t>(cpu::bytes_of(out().type)),
           "bottleneck tokens of the result's type");
  }
  void inverse_sigma() const {
    counts(1, 1, 2);
    const auto tokens = static_cast<int>(step_.attributes[0]);
    expect(in(0).space == Space::shots && exact(in(0)) && out().space == Space::latents && exact(out()) &&
               out().width == 1 && tokens > 0,
           "projected features of shots");
    floats(0, program_.max_length, in(0).width);
    floats(1, tokens, in(0).width);
  }
  void select() const {
    counts(1, 0, 0);
    const bool tokens = in(0).space == Space::tokens;
    const bool fits = out().space == Space::bottlenecks ? tokens && in(0).tokens == out().tokens
                      : out().space == Space::latents   ? tokens
                                                        : out().space == Space::centres && program_.windowed() &&
                                                              (tokens || in(0).space == Space::latents);
    expect(fits && in(0).width == out().width && in(0).type == out().type && wide(out()), "rows of a smaller space");
  }
  void merge() const {
    counts(step_.inputs.size(), 0, 0);
    long tokens = 0;
    for (std::size_t i = 0; i < step_.inputs.size(); ++i) {
      expect(in(i).space == Space::bottlenecks && in(i).width == out().width && in(i).type == out().type,
             "bottleneck tokens");
      tokens += in(i).tokens;
    }
    expect(out().space == Space::bottlenecks && tokens == out().tokens && wide(out()), "all of them together");
  }
  void join() const {
    counts(2, 0, 0);
    expect(in(0).space == Space::bottlenecks && in(1).space == Space::latents && out().space == Space::tokens &&
               in(0).tokens == out().tokens && in(0).width == out().width && in(1).width == out().width &&
               in(0).type == out().type && in(1).type == out().type && wide(out()),
           "bottleneck tokens and latents");
  }
  void attention() const {
    counts(2, 0, 0);
    expect(out().width % program_.heads == 0 && in(0).width == out().width && in(1).width == 2 * out().width &&
               in(1).space == Space::tokens && same_rows(in(0), out()) && in(0).type == out().type &&
               in(1).type == out().type && wide(out()),
           "queries, and keys beside values");
    expect(out().space == Space::tokens || out().space == Space::latents || out().space == Space::centres,
           "queries of tokens, latents or centres");
    expect(out().space != Space::tokens || out().tokens == in(1).tokens, "queries of the same tokens");
  }
  void window_attention() const {
    counts(2, 0, 3);
    expect(out().width % program_.heads == 0 && in(0).space == Space::shots && in(0).width == 3 * out().width &&
               exact(in(0)) && in(1).space == Space::latents && in(1).width == 1 && exact(in(1)) &&
               out().space == Space::tokens && out().tokens > 0 && wide(out()),
           "a table of shots and a scale of latents");
    floats(0, program_.max_length, 3L * out().width);
    floats(1, 1, 3L * out().width);
    floats(2, out().tokens, 3L * out().width);
  }
  void query_attention() const {
    counts(3, 0, 0);
    const int size = in(1).width;
    expect(size % program_.heads == 0 && in(0).space == Space::centres && exact(in(0)) &&
               static_cast<long>(in(0).width) == static_cast<long>(size) * program_.heads &&
               in(1).space == Space::bottlenecks && in(2).space == Space::latents && in(2).width == size &&
               in(1).type == in(2).type && wide(in(1)) && out().space == Space::centres && out().width == in(0).width &&
               wide(out()),
           "a query per head, bottleneck tokens and latents");
  }
  void add() const {
    counts(step_.inputs.size(), 0, 1);
    for (std::size_t i = 0; i < step_.inputs.size(); ++i) {
      expect(same_rows(in(i), out()) && in(i).width == out().width && exact(in(i)), "float32 rows of one size");
    }
    expect(exact(out()), "a float32 sum");
    floats(0, 1, out().width);
  }

  const Program& program_;
  const cpu::KernelTable& kernels_;
  const Step& step_;
  std::size_t index_;
};

}  // namespace

int Program::most_tokens() const {
  int most = 0;
  for (const Value& value : values) most = std::max(most, value.tokens);
  return most;
}

Program read_program(std::span<const std::uint32_t> words, std::span<const std::byte> weights) {
  Reader reader(words);
  Program program{};
  program.task = static_cast<Task>(reader.below(3, "task"));
  program.max_length = reader.size("max_length");
  program.heads = reader.size("heads");
  program.classes = reader.size("classes");
  program.eps = reader.real();
  program.threshold = reader.real();
  program.target = reader.name("target", true);
  for (std::uint32_t left = reader.below(kMostCount, "modalities"); left > 0; --left) {
    const int feature_size = reader.size("feature_size");
    program.modalities.push_back({reader.name("name of a modality", false), feature_size});
  }
  for (std::uint32_t left = reader.below(kMostCount, "values"); left > 0; --left) {
    const auto space = static_cast<Space>(reader.below(kSpaces, "space"));
    const int tokens = reader.size("tokens");
    const int width = reader.size("width");
    program.values.push_back({space, tokens, width, static_cast<cpu::Type>(reader.below(cpu::kTypes, "type"))});
  }
  for (std::uint32_t left = reader.below(kMostCount, "steps"); left > 0; --left) {
    program.steps.push_back(read_step(reader, program.values.size(), weights));
  }
  const bool sizes = program.max_length > 0 && program.heads > 0 && program.classes > 0 && program.eps > 0 &&
                     std::isfinite(program.eps) && !program.modalities.empty() && !program.steps.empty();
  if (!reader.finished() || !sizes) throw BadArtefact("program: expected a model's sizes and steps, and nothing more");
  return program;
}

void check_program(const Program& program, const cpu::KernelTable& kernels) {
  std::vector<bool> made(program.values.size());
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    for (const int input : step.inputs) {
      if (!made[static_cast<std::size_t>(input)]) {
        throw BadArtefact("program: step " + std::to_string(i) + " reads a value before it is made");
      }
    }
    if (made[static_cast<std::size_t>(step.out)]) {
      throw BadArtefact("program: step " + std::to_string(i) + " makes a value again");
    }
    made[static_cast<std::size_t>(step.out)] = true;
    const Value& out = program.value(step.out);
    if (out.width < 1) throw BadArtefact("program: step " + std::to_string(i) + ": expected a width");
    if (out.space == Space::shots || out.space == Space::centres) {
      if (!program.windowed()) throw BadArtefact("program: windows in a model without");
    }
    StepCheck(program, kernels, i).run();
  }
  const Step& head = program.head();
  const Value& logits = program.value(head.out);
  const Space space = program.windowed() ? Space::centres : Space::latents;
  if (head.op != Op::add || head.inputs.size() != program.modalities.size() || logits.width != program.classes ||
      logits.space != space) {
    throw BadArtefact("program: expected logits at its end, the sum of a contribution per modality");
  }
}

}  // namespace megaseg
