// What one CPU target offers: a table of plain functions over raw pointers. Matrices are row-major, sizes in floats.
// Token matrices of a batch of sequences hold every sequence's bottleneck tokens first, then every sequence's latents:
// [batch * bottlenecks + batch * latents, size]. So row-wise ops see one matrix, and nothing is ever concatenated.
#pragma once

#include <cstddef>

namespace megaseg::cpu {

using std::ptrdiff_t;

enum class Activation { none, gelu };

// out = activation(in W^T + bias + residual), W [n, k] packed in panels: [ceil(n / panel), k, panel], zero padded.
// residual may be out itself.
struct LinearArgs {
  const float* in;  // [rows, k]
  ptrdiff_t in_stride;
  const float* weight;
  const float* bias;      // [ceil(n / panel) * panel]
  const float* residual;  // [rows, n] or null
  ptrdiff_t residual_stride;
  float* out;  // [rows, n]
  ptrdiff_t out_stride;
  int n;
  int k;
  Activation activation;
};

// out[r, :] = (in[r, :] - mean) / sqrt(variance + eps) * gamma + beta; in may be out.
struct LayerNormArgs {
  const float* in;  // [rows, size]
  ptrdiff_t in_stride;
  const float* gamma;  // [size]
  const float* beta;   // [size]
  float* out;          // [rows, size]
  ptrdiff_t out_stride;
  int size;
  float eps;
};

// Which row of a per-shot matrix stands at position j of window w: the shot w + j - half, edge shots repeated.
struct WindowRows {
  int first;   // shot at the centre of window 0
  int half;    // shots before the centre; 0 when the one window is the whole movie
  int shots;   // shots of the movie
  int stored;  // shot in row 0 of the matrix

  [[gnu::always_inline]] int row(int window, int position) const {
    const int shot = first + window + position - half;
    return (shot < 0 ? 0 : shot >= shots ? shots - 1 : shot) - stored;
  }
};

// Latents before the first layer: LayerNorm(x + position[j] + align[floor(j * bottlenecks / length)]).
struct EmbedArgs {
  const float* x;         // projected features [., size]
  const float* position;  // [length, size]
  const float* align;     // [bottlenecks, size]
  const float* gamma;     // [size]
  const float* beta;      // [size]
  float* out;             // [windows * length, size]
  float* inverse_sigma;   // [windows * length] 1 / sqrt(variance + eps), or null
  WindowRows rows;
  bool gathered;  // x has a row for every row of out
  int length;
  int bottlenecks;
  int size;
  float eps;
};

// Softmax attention over bottleneck tokens and latents, a key set in two parts. Heads are column slices.
struct AttentionArgs {
  const float* q;  // tokens of query_bottlenecks, query_latents
  const float* k;  // tokens of bottlenecks, latents
  const float* v;
  float* out;
  ptrdiff_t q_stride;
  ptrdiff_t kv_stride;
  ptrdiff_t out_stride;
  int batch;
  int head_size;
  int query_bottlenecks;
  int query_latents;
  int bottlenecks;
  int latents;
  float scale;
};

// The first layer's attention, with queries, keys and values evaluated where they are used:
// latents: (shot[row] + position[j]) * inverse_sigma[w, j] + shift; bottleneck tokens: constants.
struct WindowAttentionArgs {
  const float* shot;           // [., 3 size]
  const float* position;       // [length, 3 size]
  const float* shift;          // [3 size]
  const float* bottleneck;     // [bottlenecks, 3 size]
  const float* inverse_sigma;  // [windows, length]
  float* out;                  // tokens [., size]
  WindowRows rows;
  int windows;
  int length;
  int bottlenecks;
  int heads;
  int head_size;
  float scale;
};

// One query a window with the key and value projections folded around it: softmax over tokens t of scale * query_h . t,
// and per head the weighted sum of the tokens themselves.
struct QueryAttentionArgs {
  const float* query;            // [windows, heads, size]
  const float* bottleneck_rows;  // [windows, bottlenecks, size]
  const float* latent_rows;      // [windows, latents, size]
  float* out;                    // [windows, heads, size]
  int heads;
  int size;
  int bottlenecks;
  int latents;
  float scale;
};

struct KernelTable {
  const char* name;
  int lanes;  // floats in one vector
  int panel;  // columns of a packed weight panel

  void (*linear)(const LinearArgs&, int row_begin, int row_end, int panel_begin, int panel_end);
  void (*layer_norm)(const LayerNormArgs&, int begin, int end);
  void (*embed)(const EmbedArgs&, int begin, int end);

  // Keys and values of one sequence and head are packed by key blocks, once, then read by every block of queries.
  std::size_t (*attention_packed_size)(int keys, int head_size);
  std::size_t (*attention_scratch_size)(int head_size);
  void (*attention_pack)(const AttentionArgs&, int batch, int head, int key_begin, int key_end, float* packed);
  void (*attention)(const AttentionArgs&, int batch, int head, int query_begin, int query_end, const float* packed,
                    float* scratch);
  std::size_t (*window_attention_scratch_size)(int tokens, int head_size);
  void (*window_attention)(const WindowAttentionArgs&, int window, int head, float* scratch);
  std::size_t (*query_attention_scratch_size)(int heads, int keys);
  void (*query_attention)(const QueryAttentionArgs&, int window, float* scratch);
};

// One per target, defined by csrc/cpu/table.cpp.
namespace portable {
extern const KernelTable table;
}
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {
extern const KernelTable table;
}

}  // namespace megaseg::cpu
