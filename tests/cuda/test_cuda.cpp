// The CUDA kernels against float64, every thread emulated: emulation.h. Run by CTest.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "cuda/ops.h"
#include "emulation.h"

namespace {

using namespace megaseg::cuda;

int failures = 0;

#define CHECK(condition, ...)                                              \
  do {                                                                     \
    if (!(condition)) {                                                    \
      ++failures;                                                          \
      std::fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::fprintf(stderr, __VA_ARGS__);                                   \
      std::fputc('\n', stderr);                                            \
    }                                                                      \
  } while (false)

std::mt19937 generator(20);  // NOLINT: fresh numbers, the same on every run

int between(int least, int most) { return std::uniform_int_distribution<int>(least, most)(generator); }
Type any_type() { return between(0, 1) == 0 ? Type::float16 : Type::bfloat16; }

// A matrix whose rows are columns `from` on of a wider one; the rest of that is NaN, and nobody's to write.
struct Matrix {
  Type type;
  int rows, columns;
  std::int64_t stride;
  int from;
  std::vector<Chunk> chunks;

  Matrix(Type of, int rows_, int columns_, int wider = 0)
      : type(of), rows(rows_), columns(columns_), stride(columns_ + wider), from(wider / 16 * 8) {
    chunks.resize(static_cast<std::size_t>(stride * rows / 8 + 1), Chunk{{~0U, ~0U, ~0U, ~0U}});
  }
  std::uint16_t* row(int i) { return reinterpret_cast<std::uint16_t*>(chunks.data()) + i * stride + from; }
  const std::uint16_t* row(int i) const { return const_cast<Matrix*>(this)->row(i); }
  double at(int i, int j) const { return emulation::widen(type, row(i)[j]); }
  void set(int i, int j, float value) { row(i)[j] = emulation::round(type, value); }
  ConstRows as_input() const { return {row(0), stride}; }

  template <typename Draw>
  void fill(Draw draw) {
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) set(i, j, draw());
    }
  }
  bool kept_its_margins() const {
    for (int i = 0; i < rows; ++i) {
      const std::uint16_t* begin = row(i) - from;
      for (int j = 0; j < stride; ++j) {
        if ((j < from || j >= from + columns) && begin[j] != 0xffff) return false;
      }
    }
    return true;
  }
};

// Rows of a sequence: bottleneck tokens, then latents.
std::vector<int> rows_of(const std::vector<std::int32_t>& begin, int sequence, int bottlenecks) {
  std::vector<int> rows;
  for (int i = 0; i < bottlenecks; ++i) rows.push_back(sequence * bottlenecks + i);
  const int batch = static_cast<int>(begin.size()) - 1;
  for (int i = begin[sequence]; i < begin[sequence + 1]; ++i) rows.push_back(batch * bottlenecks + i);
  return rows;
}

// softmax(q k^T / sqrt(size)) v of one query and head.
std::vector<double> attend(const Matrix& q, const Matrix& k, const Matrix& v, int query, const std::vector<int>& keys,
                           int column, int size) {
  std::vector<double> weights;
  for (const int key : keys) {
    double score = 0;
    for (int c = column; c < column + size; ++c) score += q.at(query, c) * k.at(key, c);
    weights.push_back(score / std::sqrt(size));
  }
  const double peak = *std::max_element(weights.begin(), weights.end());
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - peak);
  std::vector<double> sums(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (int c = 0; c < size; ++c) sums[static_cast<std::size_t>(c)] += weights[i] / total * v.at(keys[i], column + c);
  }
  return sums;
}

// The first sequence has `tokens` tokens, its bottleneck's included, and no other has more.
void test_attention(Type type, int size, int tokens, int batch, bool latent_queries, float spread = 1) {
  const int bottlenecks = between(0, 8);
  const int longest = std::max(1, tokens - bottlenecks);
  const int heads = between(1, 2);
  std::vector<std::int32_t> begin{0};
  for (int b = 0; b < batch; ++b) begin.push_back(begin.back() + (b == 0 ? longest : between(b == 1 ? 1 : 0, longest)));
  const int latents = begin.back();
  const int wider = between(0, 2) * 8;
  Matrix k(type, batch * bottlenecks + latents, heads * size, 2 * heads * size + wider), v = k;
  Matrix q(type, latent_queries ? latents : k.rows, heads * size, wider), out(type, q.rows, heads * size, wider);
  std::normal_distribution<float> normal;
  const auto draw = [&] { return normal(generator); };
  q.fill([&] { return spread * normal(generator); });
  k.fill(draw);
  v.fill(draw);
  const float scale = static_cast<float>(std::log2(std::exp(1.0)) / std::sqrt(size));
  const BottleneckAttentionArgs args{q.as_input(), k.as_input(),   v.as_input(), {out.row(0), out.stride},
                                     begin.data(), batch,          heads,        bottlenecks,
                                     longest,      latent_queries, scale};
  const char* error = bottleneck_attention(args, type, size, nullptr);
  CHECK(error == nullptr, "%s", error);
  CHECK(out.kept_its_margins(), "size %d, longest %d", size, longest);
  // The weights are rounded once, the result once; neither by more than half a unit of the largest value.
  double largest = 1;
  for (int i = 0; i < v.rows; ++i) {
    for (int c = 0; c < v.columns; ++c) largest = std::max(largest, std::fabs(v.at(i, c)));
  }
  const double bound = 2 * largest * std::ldexp(1, type == Type::float16 ? -11 : -8);
  int wrong = 0;
  for (int b = 0; b < batch; ++b) {
    const std::vector<int> keys = rows_of(begin, b, bottlenecks);
    for (const int query : rows_of(begin, b, latent_queries ? 0 : bottlenecks)) {
      for (int head = 0; head < heads; ++head) {
        const std::vector<double> expected = attend(q, k, v, query, keys, head * size, size);
        for (int c = 0; c < size; ++c) {
          wrong += !(std::fabs(out.at(query, head * size + c) - expected[static_cast<std::size_t>(c)]) <= bound);
        }
      }
    }
  }
  CHECK(wrong == 0, "%d values: size %d, longest %d, %d bottlenecks, type %d, latent_queries %d", wrong, size, longest,
        bottlenecks, static_cast<int>(type), latent_queries);
}

struct MovieSize {
  int shots, sentences;
  std::int64_t reach;
};

bool inside(const MovieSize& movie, int shot, int sentence) {
  const auto product = [](int a, int b) { return static_cast<std::int64_t>(a) * b; };
  return std::abs(product(shot, movie.sentences) - product(sentence, movie.shots)) < movie.reach;
}

// Small whole numbers: similarities are exact, and many equal the threshold.
void test_estep(const std::vector<MovieSize>& movies, int size, bool spoil = false, int first_shot = 0) {
  const Type type = any_type();
  const int batch = static_cast<int>(movies.size());
  std::vector<std::int32_t> shot_begin{0}, sentence_begin{0};
  std::vector<std::int64_t> reach, out_begin{0};
  int longest = 0;
  for (const MovieSize& movie : movies) {
    shot_begin.push_back(shot_begin.back() + movie.shots);
    sentence_begin.push_back(sentence_begin.back() + movie.sentences);
    reach.push_back(movie.reach);
    out_begin.push_back(out_begin.back() + static_cast<std::int64_t>(movie.shots) * ((movie.sentences + 7) / 8));
    longest = std::max(longest, movie.shots);
  }
  Matrix shots(type, shot_begin.back(), size, between(0, 1) * 8), sentences(type, sentence_begin.back(), size, 16);
  shots.fill([] { return static_cast<float>(between(-2, 2)); });
  sentences.fill([] { return static_cast<float>(between(1, 4)); });  // infinity times 0 would be NaN
  if (spoil) {
    const float value = std::array{NAN, INFINITY, -INFINITY}[static_cast<std::size_t>(between(0, 2))];
    shots.set(between(0, shots.rows - 1), between(0, size - 1), value);
  }
  std::vector<std::uint8_t> bits(static_cast<std::size_t>(out_begin.back()), 0xaa);
  std::vector<std::int32_t> bad(movies.size(), -1);
  const float threshold = static_cast<float>(between(-2, 4));
  const BandedEstepArgs args{shots.as_input(),
                             sentences.as_input(),
                             shot_begin.data(),
                             sentence_begin.data(),
                             reach.data(),
                             out_begin.data(),
                             bits.data(),
                             bad.data(),
                             batch,
                             size,
                             longest,
                             out_begin.back(),
                             threshold};
  emulation::first_block = first_shot / 256;
  const char* error = banded_estep(args, type, nullptr);
  emulation::first_block = 0;
  CHECK(error == nullptr, "%s", error);
  for (int b = 0; b < batch; ++b) {
    const MovieSize& movie = movies[static_cast<std::size_t>(b)];
    const int width = (movie.sentences + 7) / 8;
    int wrong = 0, expected_bad = 0;
    for (int i = first_shot; i < movie.shots; ++i) {
      for (int j = 0; j < width * 8; ++j) {
        bool expected = false;
        if (j < movie.sentences && inside(movie, i, j)) {
          double sum = 0;
          for (int c = 0; c < size; ++c) sum += shots.at(shot_begin[b] + i, c) * sentences.at(sentence_begin[b] + j, c);
          expected = sum >= static_cast<double>(threshold);
          if (!std::isfinite(sum)) expected_bad = 1;
        }
        const std::uint8_t byte =
            bits[static_cast<std::size_t>(out_begin[b] + static_cast<std::int64_t>(i) * width + j / 8)];
        wrong += (byte >> j % 8 & 1) != expected;
      }
    }
    CHECK(wrong == 0, "%d bits of %d x %d, reach %lld, size %d", wrong, movie.shots, movie.sentences,
          static_cast<long long>(movie.reach), size);
    CHECK(bad[static_cast<std::size_t>(b)] == expected_bad, "%d x %d, reach %lld", movie.shots, movie.sentences,
          static_cast<long long>(movie.reach));
  }
}

std::vector<MovieSize> random_movies(int count) {
  std::vector<MovieSize> movies;
  for (int i = 0; i < count; ++i) {
    MovieSize movie{between(1, 300), between(1, 90), 0};
    const int pairs = movie.shots * movie.sentences;
    movie.reach = between(0, 5) == 0 ? between(0, 2) : between(1, pairs);
    movies.push_back(movie);
  }
  return movies;
}

}  // namespace

int main() {
  for (const int size : {32, 64, 128}) {
    for (const Type type : {Type::float16, Type::bfloat16}) {
      for (const bool latent_queries : {false, true}) {
        test_attention(type, size, between(1, 32), 3, latent_queries);  // a warp each
        test_attention(type, size, between(33, 150), 2, latent_queries);
      }
    }
    test_attention(any_type(), size, 1, 5, false);
    for (const int tokens : {32, 33, 127, 128}) test_attention(any_type(), size, tokens, 2, false);
    test_attention(any_type(), size, 129, 1, true, 30);  // one weight is nearly all
    test_attention(any_type(), size, 40, 0, false);      // nothing to do
  }
  test_estep({{1, 1, 1}, {1, 200, 60}, {200, 1, 60}, {5, 3, 0}, {257, 65, 257 * 65}}, 8);
  for (const int size : {24, 64, 200, 328}) {
    test_estep(random_movies(2), size);
    test_estep(random_movies(2), size, true);
  }
  test_estep({}, 8);
  test_estep({{60000, 40000, 20'000'000}}, 8, false, 59648);  // products of places beyond 32 bits
  std::printf("%d launches, %d failures\n", emulation::launches, failures);
  return failures == 0 ? 0 : 1;
}
