// The ABI of SOVERSION 0 that programs were compiled to: the header must still say this, and abi.sh reads the names
// that the library must export. What goes or changes here needs a new SOVERSION; a new function needs a line.
#include <cstddef>
#include <type_traits>

#include "megaseg/megaseg.h"

#define HOLD(name, ...) static_assert(std::is_same_v<decltype(name), __VA_ARGS__>, #name)

HOLD(megaseg_version, const char*());
HOLD(megaseg_error_message, const char*(const megaseg_error*));
HOLD(megaseg_error_free, void(megaseg_error*));
HOLD(megaseg_open, megaseg_status(const char*, const megaseg_options*, megaseg_model**, megaseg_error**));
HOLD(megaseg_close, void(megaseg_model*));
HOLD(megaseg_model_task, megaseg_task(const megaseg_model*));
HOLD(megaseg_model_target, const char*(const megaseg_model*));
HOLD(megaseg_model_modalities, int(const megaseg_model*));
HOLD(megaseg_model_modality, const char*(const megaseg_model*, int));
HOLD(megaseg_model_feature_size, int(const megaseg_model*, int));
HOLD(megaseg_model_feature_type, megaseg_type(const megaseg_model*, int));
HOLD(megaseg_model_classes, int(const megaseg_model*));
HOLD(megaseg_model_max_shots, int(const megaseg_model*));
HOLD(megaseg_model_threshold, float(const megaseg_model*));
HOLD(megaseg_model_weight_bytes, size_t(const megaseg_model*));
HOLD(megaseg_model_workspace_bytes, size_t(const megaseg_model*));
HOLD(megaseg_model_outputs, int(const megaseg_model*));
HOLD(megaseg_model_output, const char*(const megaseg_model*, int));
HOLD(megaseg_model_output_width, int(const megaseg_model*, int));
HOLD(megaseg_model_output_parts, int(const megaseg_model*, int));
HOLD(megaseg_model_output_rows, int(const megaseg_model*, int, int));
HOLD(megaseg_outputs, megaseg_status(megaseg_model*, const megaseg_movie*, int, const char* const*, int, float* const*,
                                     float* const*, megaseg_error**));
HOLD(megaseg_logits, megaseg_status(megaseg_model*, const megaseg_movie*, int, float*, megaseg_error**));
HOLD(megaseg_contributions, megaseg_status(megaseg_model*, const megaseg_movie*, float*, float*, megaseg_error**));
HOLD(megaseg_scores, megaseg_status(megaseg_model*, const megaseg_movie*, float*, megaseg_error**));
HOLD(megaseg_boundaries, megaseg_status(megaseg_model*, const megaseg_movie*, float, uint8_t*, megaseg_error**));

// megaseg_options may grow at its end; arrays of megaseg_movie may not. The bindings count members: one in padding
// moves none.
[[maybe_unused]] static void count(megaseg_options options, megaseg_movie movie) {
  [[maybe_unused]] auto [struct_size, num_threads, memory_limit] = options;
  [[maybe_unused]] auto [features, shots] = movie;
}
HOLD(megaseg_options::struct_size, size_t);
HOLD(megaseg_options::num_threads, int);
HOLD(megaseg_options::memory_limit, size_t);
static_assert(offsetof(megaseg_options, num_threads) == sizeof(size_t) &&
              offsetof(megaseg_options, memory_limit) == 2 * sizeof(size_t));
HOLD(megaseg_movie::features, const float* const*);
HOLD(megaseg_movie::shots, int);
static_assert(offsetof(megaseg_movie, features) == 0 && offsetof(megaseg_movie, shots) == sizeof(void*) &&
              sizeof(megaseg_movie) == 2 * sizeof(void*));
static_assert(sizeof(megaseg_status) == 4 && sizeof(megaseg_task) == 4 && sizeof(megaseg_type) == 4);
static_assert(MEGASEG_OK == 0 && MEGASEG_BAD_ARGUMENT == 1 && MEGASEG_BAD_MODEL == 2 && MEGASEG_UNSUPPORTED == 3 &&
              MEGASEG_NO_RESOURCE == 4 && MEGASEG_INTERNAL == 5);
static_assert(MEGASEG_SCENE == 0 && MEGASEG_ACT == 1 && MEGASEG_SYNOPSIS == 2 && MEGASEG_OTHER == 3);
static_assert(MEGASEG_FLOAT32 == 0 && MEGASEG_INT32 == 1);
