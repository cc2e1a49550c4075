/* libmegaseg: load a compiled model (.mseg, from `megaseg compile`) and segment, without Python.
 *
 * Every call may come from any thread; calls on one model take turns. Nothing is global. Functions that can fail return
 * a status and, where `error` is not NULL, an error to be freed; on MEGASEG_OK it is set to NULL. A model may not be
 * used in a process forked after it was opened. Its file stays mapped: replace it by rename, never write into it. */
#ifndef MEGASEG_MEGASEG_H
#define MEGASEG_MEGASEG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEGASEG_API __attribute__((visibility("default")))

typedef enum {
  MEGASEG_OK = 0,
  MEGASEG_BAD_ARGUMENT = 1, /* NULL, a number out of range, features with NaN or Inf, or that overflow in the model */
  MEGASEG_BAD_MODEL = 2,    /* not a whole compiled model of this version, or written to since it was opened */
  MEGASEG_UNSUPPORTED = 3,  /* compiled for another CPU, with a second stream of rows, or used after a fork */
  MEGASEG_NO_RESOURCE = 4,  /* out of memory, or over memory_limit */
  MEGASEG_INTERNAL = 5
} megaseg_status;

typedef enum { MEGASEG_SCENE = 0, MEGASEG_ACT = 1, MEGASEG_SYNOPSIS = 2, MEGASEG_OTHER = 3 } megaseg_task;

typedef enum { MEGASEG_FLOAT32 = 0, MEGASEG_INT32 = 1 } megaseg_type;

typedef struct megaseg_model megaseg_model;
typedef struct megaseg_error megaseg_error;

typedef struct {
  size_t struct_size;  /* sizeof(megaseg_options): how later versions know what a caller has set */
  int num_threads;     /* 0: physical cores that the process may use */
  size_t memory_limit; /* bytes of weights and workspace together; 0: none */
} megaseg_options;

/* One movie: an array [shots, feature_size] for each of the model's modalities, in its order. Where a modality's type
 * is MEGASEG_INT32, its array holds int32_t ids, and a pointer to it is cast. */
typedef struct {
  const float* const* features;
  int shots;
} megaseg_movie;

MEGASEG_API const char* megaseg_version(void);

MEGASEG_API const char* megaseg_error_message(const megaseg_error* error);
MEGASEG_API void megaseg_error_free(megaseg_error* error);

/* options may be NULL. */
MEGASEG_API megaseg_status megaseg_open(const char* path, const megaseg_options* options, megaseg_model** model,
                                        megaseg_error** error);
/* Not while another thread is in a call with the model: that call would go on in memory that is freed. */
MEGASEG_API void megaseg_close(megaseg_model* model);

/* What a model is; texts live as long as it does. NULL for a model gives 0 or NULL. */
MEGASEG_API megaseg_task megaseg_model_task(const megaseg_model* model);
MEGASEG_API const char* megaseg_model_target(const megaseg_model* model);
MEGASEG_API int megaseg_model_modalities(const megaseg_model* model);
/* NULL and 0 for a modality that the model does not have. */
MEGASEG_API const char* megaseg_model_modality(const megaseg_model* model, int modality);
MEGASEG_API int megaseg_model_feature_size(const megaseg_model* model, int modality);
MEGASEG_API megaseg_type megaseg_model_feature_type(const megaseg_model* model, int modality);
/* The width of output "logits"; 0 where there is none. */
MEGASEG_API int megaseg_model_classes(const megaseg_model* model);
MEGASEG_API int megaseg_model_max_shots(const megaseg_model* model);
MEGASEG_API float megaseg_model_threshold(const megaseg_model* model);
MEGASEG_API size_t megaseg_model_weight_bytes(const megaseg_model* model);
MEGASEG_API size_t megaseg_model_workspace_bytes(const megaseg_model* model);

/* What a model gives: outputs by name, each of so many floats a row, and how many parts of the same width it is made of
 * (0: none are there to be read). NULL and 0 for an output that the model does not have. */
MEGASEG_API int megaseg_model_outputs(const megaseg_model* model);
MEGASEG_API const char* megaseg_model_output(const megaseg_model* model, int output);
MEGASEG_API int megaseg_model_output_width(const megaseg_model* model, int output);
MEGASEG_API int megaseg_model_output_parts(const megaseg_model* model, int output);
/* Rows of an output of a movie of so many shots: one a shot, or one for the whole movie. */
MEGASEG_API int megaseg_model_output_rows(const megaseg_model* model, int output, int shots);

/* One run for the `wanted` outputs that `names` lists. outputs[i]: [rows of all movies, width], movie after movie.
 * parts[i]: [rows of all movies, parts, width]. Either may be NULL where it is not wanted, and `parts` as a whole. */
MEGASEG_API megaseg_status megaseg_outputs(megaseg_model* model, const megaseg_movie* movies, int count,
                                           const char* const* names, int wanted, float* const* outputs,
                                           float* const* parts, megaseg_error** error);

/* logits: [shots of all movies, classes], movie after movie. Movies run together in full batches; each gets what it
 * gets alone.
 */
MEGASEG_API megaseg_status megaseg_logits(megaseg_model* model, const megaseg_movie* movies, int count, float* logits,
                                          megaseg_error** error);

/* One run's logits [shots, classes], and how much of each comes from each modality: contributions [shots, modalities,
 * classes], in the model's order of modalities. A modality's importance for class k at a shot is its contribution to
 * logit k where that is positive, over the sum of all positive ones. */
MEGASEG_API megaseg_status megaseg_contributions(megaseg_model* model, const megaseg_movie* movie, float* logits,
                                                 float* contributions, megaseg_error** error);

/* Scene model: scores [shots], P(the shot is the last of its scene). Act model: [shots, classes], a softmax over shots
 * for each turning point. */
MEGASEG_API megaseg_status megaseg_scores(megaseg_model* model, const megaseg_movie* movie, float* scores,
                                          megaseg_error** error);

/* Scene model: boundaries [shots], 1 for the last shot of a scene but the movie's own last. A threshold of NAN takes
 * the model's. */
MEGASEG_API megaseg_status megaseg_boundaries(megaseg_model* model, const megaseg_movie* movie, float threshold,
                                              uint8_t* boundaries, megaseg_error** error);

#ifdef __cplusplus
}
#endif

#endif
