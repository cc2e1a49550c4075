// libmegaseg against known logits: values, errors as values, many threads on one model. Run by CTest, and again under
// ThreadSanitizer.
#include <algorithm>
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

// The same results by name, in one run.
void test_outputs(const Model& model, const Features& features, const std::vector<float>& logits) {
  CHECK((model.outputs() == std::vector<std::string>{"logits"}));
  auto own = model.output("logits", features, kShots);
  auto parts = model.parts("logits", features, kShots);
  auto expected = model.contributions(features, kShots);
  CHECK(own && own->size() == logits.size() && *own == *model.logits(features, kShots));
  CHECK(parts && expected && *parts == *expected);
  const megaseg_model* one = model.get();
  CHECK(megaseg_model_outputs(one) == 1 && std::string(megaseg_model_output(one, 0)) == "logits");
  CHECK(megaseg_model_output_width(one, 0) == 2 && megaseg_model_output_parts(one, 0) == 2);
  CHECK(megaseg_model_output_rows(one, 0, kShots) == kShots);
  CHECK(megaseg_model_feature_type(one, 0) == MEGASEG_FLOAT32);
  for (const int output : {-1, 1}) {
    CHECK(!megaseg_model_output(one, output) && megaseg_model_output_width(one, output) == 0);
    CHECK(megaseg_model_output_parts(one, output) == 0 && megaseg_model_output_rows(one, output, kShots) == 0);
  }
  const float* pointers[] = {features[0].data(), features[1].data()};
  const megaseg_movie movies[] = {{pointers, kShots}, {pointers, 3}};
  const char* const names[] = {"logits", "logits"};
  std::vector<float> rows(2 * (kShots + 3)), split(2 * rows.size());
  float* const wanted[] = {rows.data(), nullptr};
  float* const wanted_parts[] = {nullptr, split.data()};
  CHECK(megaseg_outputs(model.get(), movies, 2, names, 2, wanted, wanted_parts, nullptr) == MEGASEG_OK);
  CHECK(std::equal(own->begin(), own->end(), rows.begin()) && std::equal(parts->begin(), parts->end(), split.begin()));
}

// Every refusal of megaseg_outputs names what it refuses.
void test_output_errors(const Model& model, const Features& features) {
  const float* pointers[] = {features[0].data(), features[1].data()};
  const megaseg_movie movie{pointers, kShots};
  std::vector<float> rows(4 * kShots);
  const char* const good[] = {"logits"};
  const char* const unknown[] = {"embedding"};
  const char* const none[] = {nullptr};
  float* const out[] = {rows.data()};
  float* const no_out[] = {nullptr};
  const auto refused = [&](const char* const* names, int wanted, float* const* outputs, const char* expected) {
    megaseg_error* error = nullptr;
    const megaseg_status status = megaseg_outputs(model.get(), &movie, 1, names, wanted, outputs, nullptr, &error);
    const bool told = error && std::strstr(megaseg_error_message(error), expected);
    megaseg_error_free(error);
    return status == MEGASEG_BAD_ARGUMENT && told;
  };
  CHECK(refused(unknown, 1, out, "names: expected outputs of the model, got embedding"));
  CHECK(refused(none, 1, out, "names: expected texts, got NULL"));
  CHECK(refused(nullptr, 1, out, "model, names and outputs: expected, got NULL"));
  CHECK(refused(good, 1, nullptr, "model, names and outputs: expected, got NULL"));
  CHECK(refused(good, 0, out, "wanted: expected 1 or more, got 0"));
  CHECK(refused(good, 1, no_out, "logits: expected an array for the output or its parts, got NULL"));
  CHECK(megaseg_outputs(nullptr, &movie, 1, good, 1, out, nullptr, nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(megaseg_outputs(model.get(), nullptr, 1, good, 1, out, nullptr, nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(model.output("embedding", features, kShots).error().status == MEGASEG_BAD_ARGUMENT);
  CHECK(model.parts("logits", features, 0).error().message == "shots: expected at least 1, got 0");
}

// A model of another task, with ids among its inputs: a row a movie, and a row a shot.
void test_other_model(const std::string& folder) {
  auto model = Model::open(folder + "/other.mseg");
  CHECK(model && model->task() == MEGASEG_OTHER && model->classes() == 0);
  CHECK((model->outputs() == std::vector<std::string>{"embedding", "rows"}));
  CHECK(megaseg_model_output_rows(model->get(), 0, 3) == 1 && megaseg_model_output_rows(model->get(), 1, 3) == 3);
  CHECK(megaseg_model_feature_type(model->get(), 0) == MEGASEG_INT32 &&
        megaseg_model_output_parts(model->get(), 0) == 0);
  std::int32_t ids[] = {2, 0, 1};
  const float* pointers[] = {reinterpret_cast<const float*>(ids)};
  const megaseg_movie movie{pointers, 3};
  const char* const names[] = {"rows", "embedding"};
  float rows[6], embedding[2], parts[6];
  float* const out[] = {rows, embedding};
  float* const bad_parts[] = {parts, nullptr};
  CHECK(megaseg_outputs(model->get(), &movie, 1, names, 2, out, nullptr, nullptr) == MEGASEG_OK);
  const float expected[] = {4, 5, 0, 1, 2, 3};
  CHECK(std::equal(rows, rows + 6, expected) && embedding[0] == 2 && embedding[1] == 3);
  CHECK(megaseg_outputs(model->get(), &movie, 1, names, 2, out, bad_parts, nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(megaseg_logits(model->get(), &movie, 1, rows, nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(megaseg_contributions(model->get(), &movie, rows, parts, nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(megaseg_scores(model->get(), &movie, rows, nullptr) == MEGASEG_BAD_ARGUMENT);
  CHECK(model->output("rows", {{1.0F, 2.0F, 3.0F}}, 3).error().message ==
        "ids: expected ids, which the C functions take");
  ids[1] = 3;
  megaseg_error* error = nullptr;
  CHECK(megaseg_outputs(model->get(), &movie, 1, names, 2, out, nullptr, &error) == MEGASEG_BAD_ARGUMENT);
  CHECK(error && std::string(megaseg_error_message(error)) ==
                     "features of movie 0: expected ids from 0 to 2 in ids, got 3 in row 1");
  megaseg_error_free(error);
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
  test_outputs(*model, features, expected);
  test_output_errors(*model, features);
  test_other_model(folder);
  test_errors(folder, *model, features);
  test_packed(*model, features);
  test_threads(*model, features);
  return failures == 0 ? 0 : 1;
}
