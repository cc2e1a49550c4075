#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/program/program.h"

namespace megaseg {
namespace {

constexpr std::uint32_t kMostCount = 1U << 20;  // of values, steps, bytes of a text: far beyond any model
constexpr std::uint32_t kMostSize = 1U << 28;
constexpr std::size_t kLongestProperty = 64;

bool is_word(long code) {
  return ('a' <= code && code <= 'z') || ('A' <= code && code <= 'Z') || ('0' <= code && code <= '9') || code == '_' ||
         code == '-';
}

// Not empty, nor between dots; NAME.parts is what the parts of output NAME are called.
bool dotted(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.back() != '.' && name.find("..") == std::string::npos &&
         !name.ends_with(".parts");
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
  // A text that is safe to show: words of letters, digits, - and _, in ASCII alone if asked for, with dots between.
  std::string name(const char* what, bool ascii) {
    std::string out = text();
    bool fits = dotted(out);
    for (std::size_t at = 0; fits && at < out.size();) {
      const long code = code_point(out, at);
      fits = is_word(code) || code == '.' || (!ascii && is_shown(code));
    }
    if (!fits) throw BadArtefact(std::string("program: ") + what + ": expected letters, digits, - and _");
    return out;
  }
  // Printable ASCII that needs no escapes, at most kLongestProperty of it.
  std::string property(const char* what) {
    std::string out = text();
    const auto plain = [](char c) { return ' ' <= c && c <= '~' && c != '"' && c != '\'' && c != '\\'; };
    if (out.size() > kLongestProperty || !std::all_of(out.begin(), out.end(), plain)) {
      throw BadArtefact(std::string("program: ") + what + ": expected at most " + std::to_string(kLongestProperty) +
                        " printable ASCII characters without quotes and backslashes");
    }
    return out;
  }
  bool finished() const { return at_ == words_.size(); }

 private:
  std::span<const std::uint32_t> words_;
  std::size_t at_ = 0;
};

Step read_step(Reader& reader, std::uint32_t values, std::span<const std::byte> weights) {
  Step step{static_cast<Op>(reader.below(static_cast<std::uint32_t>(std::size(kOpNames)), "op")),
            static_cast<int>(reader.below(values, "value")),
            {},
            {},
            {}};
  for (std::uint32_t left = reader.below(kMostCount, "inputs"); left > 0; --left) {
    step.inputs.push_back(static_cast<int>(reader.below(values, "value")));
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

Output read_output(Reader& reader, std::uint32_t values) {
  Output output{reader.name("name of an output", true), static_cast<int>(reader.below(values, "value")), {}};
  for (std::uint32_t left = reader.below(kMostCount, "parts"); left > 0; --left) {
    output.parts.push_back(static_cast<int>(reader.below(values, "value")));
  }
  return output;
}

}  // namespace

Program read_program(std::span<const std::uint32_t> words, std::span<const std::byte> weights) {
  Reader reader(words);
  Program program{};
  const auto each = [&](const char* what, const auto& read) {
    for (std::uint32_t left = reader.below(kMostCount, what); left > 0; --left) read();
  };
  const auto kind = static_cast<Sequences::Kind>(reader.below(kSequenceKinds, "kind of sequences"));
  const int length = reader.size("length of sequences");
  program.sequences = {kind, length, reader.size("step of sequences")};
  program.target = reader.name("target", true);
  each("properties", [&] {
    std::string name = reader.property("name of a property");
    program.properties.emplace_back(std::move(name), reader.property("value of a property"));
  });
  each("inputs", [&] {
    const int feature_size = reader.size("feature_size");
    const bool ids = reader.below(2, "type of an input") == 1;
    const auto type = ids ? cpu::Type::int32 : cpu::Type::float32;
    const bool source = reader.below(2, "rows of an input") == 1;
    program.inputs.push_back({feature_size, type, source, reader.name("name of an input", false)});
  });
  each("values", [&] {
    const auto space = static_cast<Space>(reader.below(kSpaces, "space"));
    const int prefix = reader.size("prefix");
    const int width = reader.size("width");
    program.values.push_back({space, prefix, width, static_cast<cpu::Type>(reader.below(cpu::kStorageTypes, "type"))});
  });
  const auto values = static_cast<std::uint32_t>(program.values.size());
  each("steps", [&] { program.steps.push_back(read_step(reader, values, weights)); });
  each("outputs", [&] { program.outputs.push_back(read_output(reader, values)); });
  if (!reader.finished()) throw BadArtefact("program: expected its outputs at the end, and nothing more");
  return program;
}

}  // namespace megaseg
