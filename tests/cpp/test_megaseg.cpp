// libmegaseg against known logits: values, errors as values, many threads on one model. Run by CTest, and again under
// ThreadSanitizer.
#include <atomic>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <megaseg/megaseg.hpp>
#include <thread>

#include "check.h"

namespace {

using megaseg::embed::Features;
using megaseg::embed::Model;

constexpr int kShots = 23;

// The values of a small float32 array as numpy.save writes it.
std::vector<float> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(128);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

void test_values(const Model& model, const Features& features, const std::vector<float>& expected) {
  CHECK(model.task() == MEGASEG_SCENE && model.target() == "portable" && model.classes() == 2);
  CHECK((model.modalities() == std::vector<std::string>{"clip", "audio"}));
  CHECK(model.feature_size(0) == 13 && model.feature_size(1) == 7 && model.feature_size(2) == 0);
  auto logits = model.logits(features, kShots);
  CHECK(logits && logits->size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(std::fabs((*logits)[i] - expected[i]) < 1e-5F);
  auto scores = model.scores(features, kShots);
  auto boundaries = model.boundaries(features, kShots);
  CHECK(scores && boundaries);
  int found = 0;
  for (std::size_t i = 0; i < kShots; ++i) {
    const double odds = std::exp(static_cast<double>(expected[2 * i + 1]) - static_cast<double>(expected[2 * i]));
    CHECK(std::fabs((*scores)[i] - odds / (1 + odds)) < 1e-5);
    CHECK(((*boundaries)[i] == 1) == (i + 1 < kShots && (*scores)[i] >= 0.45F));
    found += (*boundaries)[i];
  }
  CHECK(found > 0 && found < kShots - 1);
}

// Contributions differ by modality and add up to the logits but for a bias, the same at every shot.
void test_contributions(const Model& model, const Features& features, const std::vector<float>& logits) {
  auto parts = model.contributions(features, kShots);
  CHECK(parts && parts->size() == 2 * logits.size());
  float bias[2];
  bool same = true;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::size_t shot = i / 2;
    const float clip = (*parts)[4 * shot + i % 2];
    const float audio = (*parts)[4 * shot + 2 + i % 2];
    if (shot == 0) bias[i] = logits[i] - clip - audio;
    CHECK(std::fabs(clip + audio + bias[i % 2] - logits[i]) < 1e-5F);
    same = same && clip == audio;
  }
  CHECK(!same);
}

void test_errors(const std::string& folder, const Model& model, const Features& features) {
  CHECK(Model::open(folder + "/missing.mseg").error().status == MEGASEG_BAD_MODEL);
  CHECK(Model::open(folder + "/clip.npy").error().status == MEGASEG_BAD_MODEL);
  CHECK(Model::open(folder + "/scene.mseg", -1).error().status == MEGASEG_BAD_ARGUMENT);
  CHECK(Model::open(folder + "/scene.mseg", 1, 1000).error().status == MEGASEG_NO_RESOURCE);
  CHECK(model.logits({features[0]}, kShots).error().status == MEGASEG_BAD_ARGUMENT);
  CHECK(model.logits(features, kShots - 1).error().message.find("clip: expected") == 0);
  CHECK(model.logits(features, -1).error().message == "shots: expected at least 1, got -1");
  CHECK(model.boundaries(features, kShots, 2.0F).error().status == MEGASEG_BAD_ARGUMENT);
  Features bad = features;
  bad[1][7 * 5 + 3] = NAN;
  CHECK(model.logits(bad, kShots).error().message == "audio: expected finite values, got NaN or Inf at shot 5");
  bad[1][7 * 5 + 3] = 1e30F;
  CHECK(model.logits(bad, kShots).error().status == MEGASEG_BAD_ARGUMENT);
  CHECK(model.scores(bad, kShots).error().message.find("features of movie 0: expected values that give finite") == 0);
  CHECK(model.boundaries(bad, kShots).error().status == MEGASEG_BAD_ARGUMENT);
  megaseg_error* error = nullptr;
  megaseg_model* none = nullptr;
  CHECK(megaseg_open(nullptr, nullptr, &none, &error) == MEGASEG_BAD_ARGUMENT && error && !none);
  megaseg_error_free(error);
  CHECK(megaseg_open("x", nullptr, nullptr, nullptr) == MEGASEG_BAD_ARGUMENT);
  const float* pointers[] = {features[0].data(), nullptr};
  const megaseg_movie movies[] = {{pointers, kShots}, {nullptr, 1}, {pointers, 0}, {pointers, INT_MAX}};
  std::vector<float> out(2 * kShots);
  std::vector<std::uint8_t> ends(kShots);
  for (const megaseg_movie& movie : movies) {
    CHECK(megaseg_logits(model.get(), &movie, 1, out.data(), nullptr) == MEGASEG_BAD_ARGUMENT);
    CHECK(megaseg_scores(model.get(), &movie, out.data(), nullptr) == MEGASEG_BAD_ARGUMENT);
    CHECK(megaseg_contributions(model.get(), &movie, out.data(), out.data(), nullptr) == MEGASEG_BAD_ARGUMENT);
    CHECK(megaseg_boundaries(model.get(), &movie, NAN, ends.data(), nullptr) == MEGASEG_BAD_ARGUMENT);
  }
  CHECK(megaseg_logits(model.get(), movies, -1, out.data(), nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(megaseg_logits(model.get(), movies, 1, nullptr, nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(megaseg_contributions(model.get(), movies, out.data(), nullptr, nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(megaseg_logits(nullptr, movies, 1, out.data(), nullptr) == MEGASEG_BAD_ARGUMENT);
  megaseg_options options{sizeof(megaseg_options) + 8, 0, 0};
  CHECK(megaseg_open((folder + "/scene.mseg").c_str(), &options, &none, nullptr) == MEGASEG_BAD_ARGUMENT && !none);
  CHECK(megaseg_model_classes(nullptr) == 0 && !megaseg_model_target(nullptr) && !megaseg_model_modality(nullptr, 0));
  auto moved = Model::open(folder + "/scene.mseg", 1);
  const Model taken = std::move(*moved);
  CHECK(taken.classes() == 2 && moved->classes() == 0 && moved->target().empty());
  CHECK(moved->logits({}, 1).error().status == MEGASEG_BAD_ARGUMENT);
  megaseg_close(nullptr);
  megaseg_error_free(nullptr);
}

// The first `shots` of the movie.
std::vector<float> run(const Model& model, const Features& features, int shots) {
  Features cut;
  for (std::size_t m = 0; m < features.size(); ++m) {
    cut.emplace_back(features[m].begin(), features[m].begin() + shots * model.feature_size(static_cast<int>(m)));
  }
  return *model.logits(cut, shots);
}

void test_packed(const Model& model, const Features& features) {
  const float* pointers[] = {features[0].data(), features[1].data()};
  const megaseg_movie movies[] = {{pointers, 4}, {pointers, kShots}, {pointers, 1}};
  std::vector<float> together(2 * (4 + kShots + 1));
  CHECK(megaseg_logits(model.get(), movies, 3, together.data(), nullptr) == MEGASEG_OK);
  std::vector<float> alone;
  for (const megaseg_movie& movie : movies) {
    const std::vector<float> one = run(model, features, movie.shots);
    alone.insert(alone.end(), one.begin(), one.end());
  }
  CHECK(together == alone);
  CHECK(megaseg_logits(model.get(), nullptr, 0, together.data(), nullptr) == MEGASEG_OK);
}

void test_threads(const Model& model, const Features& features) {
  std::vector<std::vector<float>> serial(kShots + 1);
  for (int shots = 1; shots <= kShots; ++shots) serial[static_cast<std::size_t>(shots)] = run(model, features, shots);
  std::atomic<int> different{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        const int shots = 1 + (7 * i + 5 * t) % kShots;
        if (run(model, features, shots) != serial[static_cast<std::size_t>(shots)]) ++different;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(different == 0);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  auto model = Model::open(folder + "/scene.mseg", 3);
  if (!model) return std::fprintf(stderr, "%s\n", model.error().message.c_str()), 1;
  const Features features{read(folder + "/clip.npy"), read(folder + "/audio.npy")};
  const std::vector<float> expected = read(folder + "/logits.npy");
  CHECK(expected.size() == 2 * kShots);
  test_values(*model, features, expected);
  test_contributions(*model, features, expected);
  test_errors(folder, *model, features);
  test_packed(*model, features);
  test_threads(*model, features);
  return failures == 0 ? 0 : 1;
}
