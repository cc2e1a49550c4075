// The C functions of libmegaseg over core/run/plan.h: checks, and every exception turned into a status.
#include "megaseg/megaseg.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/run/plan.h"

struct megaseg_model {
  megaseg::Plan plan;
};

struct megaseg_error {
  std::string message;
};

namespace {

using megaseg::Movie;
using megaseg::Plan;
using megaseg::Program;

struct BadArgument : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void expect(bool fits, const std::string& what) {
  if (!fits) throw BadArgument(what);
}

megaseg_status fail(megaseg_status status, const char* what, megaseg_error** error) {
  try {
    if (error) *error = new megaseg_error{what};
  } catch (const std::bad_alloc&) {  // the status alone must do
  }
  return status;
}

// Runs `work`; no exception leaves.
template <typename Work>
megaseg_status guarded(megaseg_error** error, const Work& work) noexcept {
  if (error) *error = nullptr;
  try {
    work();
    return MEGASEG_OK;
  } catch (const BadArgument& problem) {
    return fail(MEGASEG_BAD_ARGUMENT, problem.what(), error);
  } catch (const megaseg::BadFeatures& problem) {
    return fail(MEGASEG_BAD_ARGUMENT, problem.what(), error);
  } catch (const megaseg::BadArtefact& problem) {
    return fail(MEGASEG_BAD_MODEL, problem.what(), error);
  } catch (const megaseg::Unsupported& problem) {
    return fail(MEGASEG_UNSUPPORTED, problem.what(), error);
  } catch (const megaseg::ResourceLimit& problem) {
    return fail(MEGASEG_NO_RESOURCE, problem.what(), error);
  } catch (const std::bad_alloc&) {
    return fail(MEGASEG_NO_RESOURCE, "out of memory", error);
  } catch (const std::exception& problem) {
    return fail(MEGASEG_INTERNAL, problem.what(), error);
  } catch (...) {
    return fail(MEGASEG_INTERNAL, "unknown exception", error);
  }
}

// What a plan says; zero of no model.
template <typename Says>
auto of(const megaseg_model* model, const Says& says) -> decltype(says(model->plan)) {
  if (!model) return {};
  return says(model->plan);
}

Movie checked(const megaseg_model* model, const megaseg_movie* movie) {
  expect(movie && movie->features, "movie: expected features, got NULL");
  const int longest = model->plan.longest();
  expect(movie->shots >= 1 && movie->shots <= longest,
         "shots: expected from 1 to " + std::to_string(longest) + ", got " + std::to_string(movie->shots));
  const auto& modalities = model->plan.program().modalities;
  Movie out{{}, movie->shots};
  for (std::size_t m = 0; m < modalities.size(); ++m) {
    const float* values = movie->features[m];
    expect(values, modalities[m].name + ": expected an array, got NULL");
    const std::ptrdiff_t width = modalities[m].feature_size;
    const float* end = values + movie->shots * width;
    const float* bad = std::find_if(values, end, [](float x) { return !std::isfinite(x); });
    expect(bad == end, modalities[m].name + ": expected finite values, got NaN or Inf at shot " +
                           std::to_string((bad - values) / width));
    out.features.push_back(values);
  }
  return out;
}

std::vector<float> logits_of(megaseg_model* model, const Movie& one) {
  const auto classes = static_cast<std::size_t>(model->plan.program().classes);
  std::vector<float> logits(static_cast<std::size_t>(one.shots) * classes);
  model->plan.run({&one, 1}, {logits.data()});
  return logits;
}

// Softmax of `count` values `stride` apart, in double as Python computes it.
void softmax(const float* in, std::size_t count, std::size_t stride, float* out, std::size_t out_stride,
             std::size_t first = 0) {
  float top = in[0];
  for (std::size_t i = 0; i < count; ++i) top = std::max(top, in[i * stride]);
  double total = 0;
  for (std::size_t i = 0; i < count; ++i) total += std::exp(static_cast<double>(in[i * stride]) - top);
  for (std::size_t i = first; i < count; ++i) {
    out[(i - first) * out_stride] = static_cast<float>(std::exp(static_cast<double>(in[i * stride]) - top) / total);
  }
}

void scores_of(megaseg_model* model, const Movie& movie, float* scores) {
  const std::vector<float> logits = logits_of(model, movie);
  const auto shots = static_cast<std::size_t>(movie.shots);
  const auto classes = static_cast<std::size_t>(model->plan.program().classes);
  if (model->plan.program().windowed()) {
    for (std::size_t i = 0; i < shots; ++i) softmax(logits.data() + i * classes, 2, 1, scores + i, 1, 1);
  } else {
    for (std::size_t c = 0; c < classes; ++c) softmax(logits.data() + c, shots, classes, scores + c, classes);
  }
}

}  // namespace

extern "C" {

const char* megaseg_version(void) { return MEGASEG_VERSION; }

const char* megaseg_error_message(const megaseg_error* error) { return error ? error->message.c_str() : "no message"; }
void megaseg_error_free(megaseg_error* error) { delete error; }

megaseg_status megaseg_open(const char* path, const megaseg_options* options, megaseg_model** model,
                            megaseg_error** error) {
  return guarded(error, [&] {
    expect(model, "model: expected where to put it, got NULL");
    *model = nullptr;
    expect(path, "path: expected a compiled model, got NULL");
    megaseg::Options chosen;
    if (options) {
      expect(options->struct_size == sizeof(megaseg_options), "options: expected struct_size to be set");
      expect(options->num_threads >= 0,
             "num_threads: expected 0 (every usable core) or more, got " + std::to_string(options->num_threads));
      chosen = {options->num_threads, options->memory_limit};
    }
    std::unique_ptr<megaseg_model> opened(new megaseg_model{megaseg::Plan(path, chosen)});
    const Program& program = opened->plan.program();
    if (program.windowed() && program.classes != 2) {
      throw megaseg::BadArtefact(std::string(path) + ": expected a scene model of 2 classes");
    }
    *model = opened.release();
  });
}

void megaseg_close(megaseg_model* model) { delete model; }

megaseg_task megaseg_model_task(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return static_cast<megaseg_task>(plan.program().task); });
}
const char* megaseg_model_target(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.program().target.c_str(); });
}
int megaseg_model_modalities(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return static_cast<int>(plan.program().modalities.size()); });
}
const char* megaseg_model_modality(const megaseg_model* model, int modality) {
  const bool there = modality >= 0 && modality < megaseg_model_modalities(model);
  return there ? model->plan.program().modalities[static_cast<std::size_t>(modality)].name.c_str() : nullptr;
}
int megaseg_model_feature_size(const megaseg_model* model, int modality) {
  const bool there = modality >= 0 && modality < megaseg_model_modalities(model);
  return there ? model->plan.program().modalities[static_cast<std::size_t>(modality)].feature_size : 0;
}
int megaseg_model_classes(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.program().classes; });
}
int megaseg_model_max_shots(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.longest(); });
}
float megaseg_model_threshold(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.program().threshold; });
}
size_t megaseg_model_weight_bytes(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.weight_bytes(); });
}
size_t megaseg_model_workspace_bytes(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.workspace_bytes(); });
}

megaseg_status megaseg_logits(megaseg_model* model, const megaseg_movie* movies, int count, float* logits,
                              megaseg_error** error) {
  return guarded(error, [&] {
    expect(model && logits && (movies || count == 0), "model, movies and logits: expected, got NULL");
    expect(count >= 0, "count: expected 0 or more, got " + std::to_string(count));
    std::vector<Movie> all;
    long shots = 0;
    for (int i = 0; i < count; ++i) {
      all.push_back(checked(model, movies + i));
      shots += all.back().shots;
    }
    expect(shots <= (1L << 30), "movies: expected fewer shots in all");
    model->plan.run(all, {logits});
  });
}

megaseg_status megaseg_contributions(megaseg_model* model, const megaseg_movie* movie, float* logits,
                                     float* contributions, megaseg_error** error) {
  return guarded(error, [&] {
    expect(model && logits && contributions, "model, logits and contributions: expected, got NULL");
    const Movie one = checked(model, movie);
    model->plan.run({&one, 1}, {logits, contributions});
  });
}

megaseg_status megaseg_scores(megaseg_model* model, const megaseg_movie* movie, float* scores, megaseg_error** error) {
  return guarded(error, [&] {
    expect(model && scores, "model and scores: expected, got NULL");
    expect(model->plan.program().task != megaseg::Task::synopsis, "scores: expected a scene or act model; use logits");
    scores_of(model, checked(model, movie), scores);
  });
}

megaseg_status megaseg_boundaries(megaseg_model* model, const megaseg_movie* movie, float threshold,
                                  uint8_t* boundaries, megaseg_error** error) {
  return guarded(error, [&] {
    expect(model && boundaries, "model and boundaries: expected, got NULL");
    expect(model->plan.program().windowed(), "boundaries: expected a scene model");
    const float least = std::isnan(threshold) ? model->plan.program().threshold : threshold;
    expect(least >= 0 && least <= 1, "threshold: expected a probability from 0 to 1, got " + std::to_string(least));
    const Movie one = checked(model, movie);
    std::vector<float> scores(static_cast<std::size_t>(one.shots));
    scores_of(model, one, scores.data());
    for (int i = 0; i < one.shots; ++i) {
      boundaries[i] = i + 1 < one.shots && scores[static_cast<std::size_t>(i)] >= least ? 1 : 0;
    }
  });
}

}  // extern "C"
