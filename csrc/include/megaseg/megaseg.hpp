// The C++ face of libmegaseg: owners and values over its C functions; nothing here throws but std::bad_alloc.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "megaseg/megaseg.h"

namespace megaseg::embed {

struct Error {
  megaseg_status status;
  std::string message;
};

// A value, or why there is none.
template <typename T>
class Result {
 public:
  Result(T value) : either_(std::move(value)) {}      // NOLINT: a value is a result
  Result(Error error) : either_(std::move(error)) {}  // NOLINT: an error is a result

  explicit operator bool() const { return either_.index() == 0; }
  T& operator*() { return std::get<0>(either_); }
  const T& operator*() const { return std::get<0>(either_); }
  T* operator->() { return &std::get<0>(either_); }
  const T* operator->() const { return &std::get<0>(either_); }
  const Error& error() const { return std::get<1>(either_); }

 private:
  std::variant<T, Error> either_;
};

// Per modality, in the model's order, [shots, feature_size] values. A model with ids among them is run by the C
// functions.
using Features = std::vector<std::vector<float>>;

class Model {
 public:
  static Result<Model> open(const std::string& path, int num_threads = 0, std::size_t memory_limit = 0) {
    const megaseg_options options{sizeof(megaseg_options), num_threads, memory_limit};
    megaseg_model* model = nullptr;
    megaseg_error* error = nullptr;
    const megaseg_status status = megaseg_open(path.c_str(), &options, &model, &error);
    if (status != MEGASEG_OK) return taken(status, error);
    return Model(model);
  }

  megaseg_task task() const { return megaseg_model_task(model_.get()); }
  std::string target() const { return model_ ? megaseg_model_target(model_.get()) : ""; }
  int classes() const { return megaseg_model_classes(model_.get()); }
  std::vector<std::string> modalities() const {
    std::vector<std::string> names;
    for (int m = 0; m < megaseg_model_modalities(model_.get()); ++m) {
      names.emplace_back(megaseg_model_modality(model_.get(), m));
    }
    return names;
  }
  int feature_size(int modality) const { return megaseg_model_feature_size(model_.get(), modality); }

  std::vector<std::string> outputs() const {
    std::vector<std::string> names;
    for (int i = 0; i < megaseg_model_outputs(model_.get()); ++i) {
      names.emplace_back(megaseg_model_output(model_.get(), i));
    }
    return names;
  }
  // An output by its name: [rows, width].
  Result<std::vector<float>> output(const std::string& name, const Features& features, int shots) const {
    const std::size_t floats = output_floats(name, shots, false);
    return run<float>(features, shots, floats, [&](const megaseg_movie& movie, float* out, megaseg_error** error) {
      const char* const names[] = {name.c_str()};
      return megaseg_outputs(model_.get(), &movie, 1, names, 1, &out, nullptr, error);
    });
  }
  // What an output is made of: [rows, parts, width].
  Result<std::vector<float>> parts(const std::string& name, const Features& features, int shots) const {
    const std::size_t floats = output_floats(name, shots, true);
    return run<float>(features, shots, floats, [&](const megaseg_movie& movie, float* out, megaseg_error** error) {
      const char* const names[] = {name.c_str()};
      float* const none = nullptr;
      return megaseg_outputs(model_.get(), &movie, 1, names, 1, &none, &out, error);
    });
  }
  // [shots, classes]
  Result<std::vector<float>> logits(const Features& features, int shots) const {
    return run<float>(features, shots, product(shots, classes()),
                      [&](const megaseg_movie& movie, float* out, megaseg_error** error) {
                        return megaseg_logits(model_.get(), &movie, 1, out, error);
                      });
  }
  // What each modality adds to the logits: [shots, modalities, classes].
  Result<std::vector<float>> contributions(const Features& features, int shots) const {
    const int columns = megaseg_model_modalities(model_.get()) * classes();
    return run<float>(features, shots, product(shots, columns),
                      [&](const megaseg_movie& movie, float* out, megaseg_error** error) {
                        std::vector<float> logits(product(shots, classes()));
                        return megaseg_contributions(model_.get(), &movie, logits.data(), out, error);
                      });
  }
  // Scene: [shots]; act: [shots, classes].
  Result<std::vector<float>> scores(const Features& features, int shots) const {
    const int columns = task() == MEGASEG_SCENE ? 1 : classes();
    return run<float>(features, shots, product(shots, columns),
                      [&](const megaseg_movie& movie, float* out, megaseg_error** error) {
                        return megaseg_scores(model_.get(), &movie, out, error);
                      });
  }
  // Scene: [shots], 1 for the last shot of a scene; a threshold of NAN is the model's own.
  Result<std::vector<std::uint8_t>> boundaries(const Features& features, int shots, float threshold = NAN) const {
    return run<std::uint8_t>(features, shots, product(shots, 1),
                             [&](const megaseg_movie& movie, std::uint8_t* out, megaseg_error** error) {
                               return megaseg_boundaries(model_.get(), &movie, threshold, out, error);
                             });
  }

  megaseg_model* get() const { return model_.get(); }

 private:
  struct Close {
    void operator()(megaseg_model* model) const { megaseg_close(model); }
  };

  explicit Model(megaseg_model* model) : model_(model) {}

  static Error taken(megaseg_status status, megaseg_error* error) {
    Error out{status, megaseg_error_message(error)};
    megaseg_error_free(error);
    return out;
  }

  // 0 of numbers that the call itself refuses.
  static std::size_t product(int rows, int columns) {
    return rows < 1 || columns < 1 ? 0 : static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  }
  std::size_t output_floats(const std::string& name, int shots, bool parts) const {
    for (int i = 0; i < megaseg_model_outputs(model_.get()); ++i) {
      if (name != megaseg_model_output(model_.get(), i)) continue;
      const int columns = megaseg_model_output_width(model_.get(), i);
      const int count = parts ? megaseg_model_output_parts(model_.get(), i) : 1;
      return product(megaseg_model_output_rows(model_.get(), i, shots), columns * count);
    }
    return 0;
  }

  // Sizes are checked here, where they are known; the C functions check the rest.
  template <typename T, typename Call>
  Result<std::vector<T>> run(const Features& features, int shots, std::size_t results, const Call& call) const {
    const std::vector<std::string> names = modalities();
    if (shots < 1) return Error{MEGASEG_BAD_ARGUMENT, "shots: expected at least 1, got " + std::to_string(shots)};
    if (features.size() != names.size()) return Error{MEGASEG_BAD_ARGUMENT, "features: one array a modality expected"};
    std::vector<const float*> pointers;
    for (std::size_t m = 0; m < names.size(); ++m) {
      if (megaseg_model_feature_type(model_.get(), static_cast<int>(m)) != MEGASEG_FLOAT32) {
        return Error{MEGASEG_BAD_ARGUMENT, names[m] + ": expected ids, which the C functions take"};
      }
      const std::size_t expected = product(shots, feature_size(static_cast<int>(m)));
      if (features[m].size() != expected) {
        return Error{MEGASEG_BAD_ARGUMENT, names[m] + ": expected " + std::to_string(expected) + " values, got " +
                                               std::to_string(features[m].size())};
      }
      pointers.push_back(features[m].data());
    }
    std::vector<T> out(results);
    megaseg_error* error = nullptr;
    const megaseg_status status = call(megaseg_movie{pointers.data(), shots}, out.data(), &error);
    if (status != MEGASEG_OK) return taken(status, error);
    return out;
  }

  std::unique_ptr<megaseg_model, Close> model_;
};

}  // namespace megaseg::embed
