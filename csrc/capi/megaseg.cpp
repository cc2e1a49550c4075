// The C functions of libmegaseg over core/run/plan.h: checks, and every exception turned into a status.
#include "megaseg/megaseg.h"

#include <algorithm>
#include <charconv>
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
  megaseg_task task;
  float threshold;  // least P(boundary) of a boundary
};

struct megaseg_error {
  std::string message;
};

namespace {

using megaseg::Destination;
using megaseg::Input;
using megaseg::Movie;
using megaseg::Output;
using megaseg::Plan;
using megaseg::Program;

struct BadArgument : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void require(bool fits, const std::string& what) {
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

const Input* input_of(const megaseg_model* model, int index) {
  const bool there = model && index >= 0 && index < static_cast<int>(model->plan.program().inputs.size());
  return there ? &model->plan.program().inputs[static_cast<std::size_t>(index)] : nullptr;
}

const Output* output_of(const megaseg_model* model, int index) {
  const bool there = model && index >= 0 && index < static_cast<int>(model->plan.program().outputs.size());
  return there ? &model->plan.program().outputs[static_cast<std::size_t>(index)] : nullptr;
}

int width_of(const Program& program, const Output* output) { return output ? program.value(output->value).width : 0; }

// Floats of its features must be finite; what ids may be, the plan checks.
Movie checked(const megaseg_model* model, const megaseg_movie* movie) {
  require(movie && movie->features, "movie: expected features, got NULL");
  const int longest = model->plan.longest();
  require(movie->shots >= 1 && movie->shots <= longest,
          "shots: expected from 1 to " + std::to_string(longest) + ", got " + std::to_string(movie->shots));
  Movie out{{}, movie->shots};
  for (const Input& input : model->plan.program().inputs) {
    const float* values = movie->features[out.features.size()];
    require(values, input.name + ": expected an array, got NULL");
    out.features.push_back(values);
    if (input.type == megaseg::cpu::Type::int32) continue;
    const std::ptrdiff_t width = input.feature_size;
    const float* end = values + movie->shots * width;
    const float* bad = std::find_if(values, end, [](float x) { return !std::isfinite(x); });
    require(bad == end,
            input.name + ": expected finite values, got NaN or Inf at shot " + std::to_string((bad - values) / width));
  }
  return out;
}

std::vector<Movie> checked(const megaseg_model* model, const megaseg_movie* movies, int count) {
  require(movies || count == 0, "movies: expected, got NULL");
  require(count >= 0, "count: expected 0 or more, got " + std::to_string(count));
  std::vector<Movie> all;
  long shots = 0;
  for (int i = 0; i < count; ++i) {
    all.push_back(checked(model, movies + i));
    shots += all.back().shots;
  }
  require(shots <= (1L << 30), "movies: expected fewer shots in all");
  return all;
}

// Output logits, a row per shot; with a part for each modality if those are asked for.
const Output* logits_output(const megaseg_model* model, bool parts = false) {
  const Program& program = model->plan.program();
  const Output* logits = program.output("logits");
  require(logits && program.by_shot(*logits), "model: expected one with logits of every shot; use megaseg_outputs");
  require(!parts || logits->parts.size() == program.inputs.size(),
          "model: expected one whose logits have a part for each modality; use megaseg_outputs");
  return logits;
}

std::vector<float> logits_of(megaseg_model* model, const Movie& one) {
  const Output* output = logits_output(model);
  const auto classes = static_cast<std::size_t>(width_of(model->plan.program(), output));
  std::vector<float> logits(static_cast<std::size_t>(one.shots) * classes);
  const Destination destination{output, false, logits.data()};
  model->plan.run({&one, 1}, {&destination, 1});
  return logits;
}

megaseg_task task_of(const Program& program) {
  const std::string* task = program.property("task");
  if (task && *task == "scene") return MEGASEG_SCENE;
  if (task && *task == "act") return MEGASEG_ACT;
  return task && *task == "synopsis" ? MEGASEG_SYNOPSIS : MEGASEG_OTHER;
}

float threshold_of(const Program& program, const char* path) {
  constexpr float kEven = 0.5F;
  const std::string* text = program.property("threshold");
  if (!text) return kEven;
  float threshold = 0;
  const char* const end = text->data() + text->size();
  const auto [rest, problem] = std::from_chars(text->data(), end, threshold);
  if (problem != std::errc() || rest != end || !(threshold >= 0 && threshold <= 1)) {
    throw megaseg::BadArtefact(std::string(path) + ": expected a threshold from 0 to 1, got " + *text);
  }
  return threshold;
}

// A movie of the C interface has one row a shot of every modality.
void check_inputs(const Program& program, const char* path) {
  for (const Input& input : program.inputs) {
    if (!input.source) continue;
    throw megaseg::Unsupported(std::string(path) + ": expected a model with a row a shot of every modality, got " +
                               input.name + " with rows of its own; run it from Python");
  }
}

// What scores and boundaries are made of is there.
void check_task(const megaseg_model& model, const char* path) {
  if (model.task != MEGASEG_SCENE && model.task != MEGASEG_ACT) return;
  const Program& program = model.plan.program();
  const Output* logits = program.output("logits");
  if (!logits || !program.by_shot(*logits)) {
    throw megaseg::BadArtefact(std::string(path) + ": expected a model with logits of every shot");
  }
  if (model.task == MEGASEG_SCENE && width_of(program, logits) != 2) {
    throw megaseg::BadArtefact(std::string(path) + ": expected a scene model of 2 classes");
  }
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
  const std::size_t classes = logits.size() / shots;
  if (model->task == MEGASEG_SCENE) {
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
    require(model, "model: expected where to put it, got NULL");
    *model = nullptr;
    require(path, "path: expected a compiled model, got NULL");
    megaseg::Options chosen;
    if (options) {
      require(options->struct_size == sizeof(megaseg_options), "options: expected struct_size to be set");
      require(options->num_threads >= 0,
              "num_threads: expected 0 (every usable core) or more, got " + std::to_string(options->num_threads));
      chosen = {options->num_threads, options->memory_limit};
    }
    std::unique_ptr<megaseg_model> opened(new megaseg_model{megaseg::Plan(path, chosen), MEGASEG_OTHER, 0});
    check_inputs(opened->plan.program(), path);
    opened->task = task_of(opened->plan.program());
    opened->threshold = threshold_of(opened->plan.program(), path);
    check_task(*opened, path);
    *model = opened.release();
  });
}

void megaseg_close(megaseg_model* model) { delete model; }

megaseg_task megaseg_model_task(const megaseg_model* model) { return model ? model->task : MEGASEG_SCENE; }
const char* megaseg_model_target(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.program().target.c_str(); });
}
int megaseg_model_modalities(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return static_cast<int>(plan.program().inputs.size()); });
}
const char* megaseg_model_modality(const megaseg_model* model, int modality) {
  const Input* input = input_of(model, modality);
  return input ? input->name.c_str() : nullptr;
}
int megaseg_model_feature_size(const megaseg_model* model, int modality) {
  const Input* input = input_of(model, modality);
  return input ? input->feature_size : 0;
}
megaseg_type megaseg_model_feature_type(const megaseg_model* model, int modality) {
  const Input* input = input_of(model, modality);
  return input && input->type == megaseg::cpu::Type::int32 ? MEGASEG_INT32 : MEGASEG_FLOAT32;
}
int megaseg_model_classes(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return width_of(plan.program(), plan.program().output("logits")); });
}
int megaseg_model_outputs(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return static_cast<int>(plan.program().outputs.size()); });
}
const char* megaseg_model_output(const megaseg_model* model, int output) {
  const Output* own = output_of(model, output);
  return own ? own->name.c_str() : nullptr;
}
int megaseg_model_output_width(const megaseg_model* model, int output) {
  const Output* own = output_of(model, output);
  return own ? width_of(model->plan.program(), own) : 0;
}
int megaseg_model_output_parts(const megaseg_model* model, int output) {
  const Output* own = output_of(model, output);
  return own ? static_cast<int>(own->parts.size()) : 0;
}
int megaseg_model_output_rows(const megaseg_model* model, int output, int shots) {
  const Output* own = output_of(model, output);
  return own ? output_rows(model->plan.program(), *own, Movie{{}, shots}) : 0;
}
int megaseg_model_max_shots(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.longest(); });
}
float megaseg_model_threshold(const megaseg_model* model) { return model ? model->threshold : 0.0F; }
size_t megaseg_model_weight_bytes(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.weight_bytes(); });
}
size_t megaseg_model_workspace_bytes(const megaseg_model* model) {
  return of(model, [](const Plan& plan) { return plan.workspace_bytes(); });
}

megaseg_status megaseg_outputs(megaseg_model* model, const megaseg_movie* movies, int count, const char* const* names,
                               int wanted, float* const* outputs, float* const* parts, megaseg_error** error) {
  return guarded(error, [&] {
    require(model && names && outputs, "model, names and outputs: expected, got NULL");
    require(wanted >= 1, "wanted: expected 1 or more, got " + std::to_string(wanted));
    std::vector<Destination> destinations;
    for (int i = 0; i < wanted; ++i) {
      require(names[i], "names: expected texts, got NULL");
      const Output* output = model->plan.program().output(names[i]);
      require(output, "names: expected outputs of the model, got " + std::string(names[i]));
      float* const own = parts ? parts[i] : nullptr;
      require(outputs[i] || own, output->name + ": expected an array for the output or its parts, got NULL");
      require(!own || !output->parts.empty(), output->name + ": expected no array for parts, it has none");
      if (outputs[i]) destinations.push_back({output, false, outputs[i]});
      if (own) destinations.push_back({output, true, own});
    }
    model->plan.run(checked(model, movies, count), destinations);
  });
}

megaseg_status megaseg_logits(megaseg_model* model, const megaseg_movie* movies, int count, float* logits,
                              megaseg_error** error) {
  return guarded(error, [&] {
    require(model && logits, "model and logits: expected, got NULL");
    const Destination destination{logits_output(model), false, logits};
    model->plan.run(checked(model, movies, count), {&destination, 1});
  });
}

megaseg_status megaseg_contributions(megaseg_model* model, const megaseg_movie* movie, float* logits,
                                     float* contributions, megaseg_error** error) {
  return guarded(error, [&] {
    require(model && logits && contributions, "model, logits and contributions: expected, got NULL");
    const Output* output = logits_output(model, true);
    const Movie one = checked(model, movie);
    const Destination destinations[] = {{output, false, logits}, {output, true, contributions}};
    model->plan.run({&one, 1}, destinations);
  });
}

megaseg_status megaseg_scores(megaseg_model* model, const megaseg_movie* movie, float* scores, megaseg_error** error) {
  return guarded(error, [&] {
    require(model && scores, "model and scores: expected, got NULL");
    require(model->task == MEGASEG_SCENE || model->task == MEGASEG_ACT,
            "scores: expected a scene or act model; use logits");
    scores_of(model, checked(model, movie), scores);
  });
}

megaseg_status megaseg_boundaries(megaseg_model* model, const megaseg_movie* movie, float threshold,
                                  uint8_t* boundaries, megaseg_error** error) {
  return guarded(error, [&] {
    require(model && boundaries, "model and boundaries: expected, got NULL");
    require(model->task == MEGASEG_SCENE, "boundaries: expected a scene model");
    const float least = std::isnan(threshold) ? model->threshold : threshold;
    require(least >= 0 && least <= 1, "threshold: expected a probability from 0 to 1, got " + std::to_string(least));
    const Movie one = checked(model, movie);
    std::vector<float> scores(static_cast<std::size_t>(one.shots));
    scores_of(model, one, scores.data());
    for (int i = 0; i < one.shots; ++i) {
      boundaries[i] = i + 1 < one.shots && scores[static_cast<std::size_t>(i)] >= least ? 1 : 0;
    }
  });
}

}  // extern "C"
