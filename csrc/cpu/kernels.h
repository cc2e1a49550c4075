// What one CPU target offers: a table of plain functions over raw pointers. Matrices are row-major, sizes in elements.
// Token matrices of a batch of sequences hold every sequence's prefix tokens first, then every sequence's latents:
// [batch * prefix + latents of all, size]. So row-wise ops see one matrix, and nothing is ever concatenated.
#pragma once

#include <cstddef>
#include <cstdint>

namespace megaseg::cpu {

using std::ptrdiff_t;

// Storage of a matrix, and (the first kTypes) what a product multiplies. Sums are float32 (int8: exact int32, then
// float32; int16: exact int32 over kWeightBlock of k, then float32). int32 rows are ids.
enum class Type : std::uint32_t { float32, bfloat16, int8, int16, int32 };
inline constexpr int kTypes = 4;
inline constexpr int kStorageTypes = 5;
constexpr int bytes_of(Type type) {
  return type == Type::int8 ? 1 : type == Type::bfloat16 || type == Type::int16 ? 2 : 4;
}
constexpr bool has_grids(Type type) { return type == Type::int8 || type == Type::int16; }

enum class Activation : std::uint32_t { none, gelu, relu, tanh };
inline constexpr std::uint32_t kActivations = 4;

// Elements of an int8 or int16 row that have a grid of their own: value = low + step * element. int8: unsigned; int16:
// low is 0, |element| <= kMostInt16.
inline constexpr int kMostInt16 = 8191;
inline constexpr int kGridSize = 768;
struct Grid {
  float low;
  float step;
};
constexpr int grids_of(ptrdiff_t size) { return static_cast<int>((size + kGridSize - 1) / kGridSize); }

// A matrix: `stride` elements from row to row, of int8 and int16 rows also grids_of(stride) grids.
struct ConstRows {
  const void* data = nullptr;
  ptrdiff_t stride = 0;
  Type type = Type::float32;
  const Grid* grids = nullptr;
};
struct Rows {
  void* data = nullptr;
  ptrdiff_t stride = 0;
  Type type = Type::float32;
  Grid* grids = nullptr;

  operator ConstRows() const { return {data, stride, type, grids}; }  // NOLINT: a view converts
};

// out = activation(in W^T + bias + residual). residual may be out itself.
struct LinearArgs {
  ConstRows in;        // [rows, k] of the type that the weight was packed for; nothing is read past k in a row
  const void* weight;  // from linear_pack
  ConstRows residual;  // [rows, n] float32 or bfloat16, or no data
  Rows out;            // [rows, n] float32, bfloat16 or of int8 products int8: whole grids of panels at a time
  int n;
  int k;
  Activation activation;
};

// out[r, :] = (in[r, :] - mean) / sqrt(variance + eps) * gamma + beta; in may be out.
struct LayerNormArgs {
  ConstRows in;        // [rows, size] float32 or bfloat16
  const float* gamma;  // [size]
  const float* beta;   // [size]
  Rows out;            // [rows, size] float32 or bfloat16
  int size;
  float eps;
};

// The same values in another type: float32 or bfloat16 to any. A grid's 256 elements are from the least value to the
// largest; of int16 the largest magnitude is kMostInt16 steps.
struct CastArgs {
  ConstRows in;
  Rows out;
  int size;
};

// Latents before the first layer, row r: LayerNorm(x[row[r]] + position[place[r]] + align[slot[r]]).
struct EmbedArgs {
  const float* x;         // projected features [., size]
  const int* row;         // null: row r
  const int* place;       // position within the sequence
  const int* slot;        // floor(place * slots / length)
  const float* position;  // [length, size]
  const float* align;     // [slots, size]
  const float* gamma;     // [size]
  const float* beta;      // [size]
  Rows out;               // [., size] float32 or bfloat16, or no data
  float* inverse_std;     // [.] 1 / sqrt(variance + eps), or null
  int size;
  float eps;
};

// out[r, :] = in[row[r], :] + table[place[r], :].
struct AddTableArgs {
  ConstRows in;        // float32 or bfloat16
  const int* row;      // null: row r
  const int* place;    // of the table
  const float* table;  // [., size]
  Rows out;            // [rows, size] float32 or bfloat16
  int size;
};

// out[r, :] = bias + in[0][r, :] + in[1][r, :] + ..., added in this order.
struct AddArgs {
  const ConstRows* in;  // `count` of [rows, size] float32 or bfloat16
  int count;
  const float* bias;  // [size], or null
  Rows out;           // [rows, size] float32
  int size;
};

// out[b, g * size:] = the mean of in's rows begin[b] to begin[b + 1] that are of group g, zeros where none is; or the
// first of them.
struct PoolArgs {
  ConstRows in;               // float32 or bfloat16
  const int* begin;           // [sequences + 1]
  const std::int32_t* group;  // of each row, or null: all are of group 0
  Rows out;                   // [sequences, groups * size] float32 or bfloat16
  int groups;
  int size;
  bool mean;
};

// out[r, :] = in[r, :] / max(|in[r, :]|, eps); in may be out.
struct L2NormaliseArgs {
  ConstRows in;  // [rows, size] float32 or bfloat16
  Rows out;      // [rows, size] float32 or bfloat16
  int size;
  float eps;
};

// out[r, :] = table[id[r], :].
struct GatherArgs {
  ConstRows id;        // [rows, 1] int32; beyond the table's rows the last one is read
  const float* table;  // [table_rows, size]
  Rows out;            // [rows, size] float32 or bfloat16
  int table_rows;
  int size;
};

// out[begin[b] + p, :] = the mean of in's rows source[b] to source[b + 1] whose place is p, zeros where there is none.
struct ScatterMeanArgs {
  ConstRows in;               // float32 or bfloat16
  const std::int32_t* place;  // of each row; any number
  const int* source;          // [sequences + 1]
  const int* begin;           // [sequences + 1]
  Rows out;                   // [., size] float32
  int size;
};

// Softmax attention over prefix tokens and latents, a key set in two parts. Heads are column slices. Sequence b's
// prefix token t is row b * prefix + t; its latents are rows batch * prefix + begin[b] up to begin[b +
// 1]. Queries and out likewise with query_prefix and query_begin. q, k, v and out are all float32 or all bfloat16;
// what is multiplied is of that type, or int8.
struct AttentionArgs {
  ConstRows q;
  ConstRows k;
  ConstRows v;
  Rows out;  // may be q
  Type product;
  int batch;
  int heads;
  int head_size;
  int query_prefix;
  const int* query_begin;  // [batch + 1]
  int prefix;
  const int* begin;  // [batch + 1]
  float scale;

  int keys(int b) const { return prefix + begin[b + 1] - begin[b]; }
  int queries(int b) const { return query_prefix + query_begin[b + 1] - query_begin[b]; }
};

// The first layer's attention, with queries, keys and values evaluated where they are used:
// latents: (shot[row] + position[j]) * inverse_std[w, j] + shift; prefix tokens: constants.
struct WindowAttentionArgs {
  const float* shot;         // [., 3 size]
  const int* row;            // [windows, length] rows of shot
  const float* position;     // [length, 3 size]
  const float* shift;        // [3 size]
  const float* prefix_rows;  // [prefix, 3 size]
  const float* inverse_std;  // [windows, length]
  Rows out;                  // tokens [., size] float32 or bfloat16
  int windows;
  int length;
  int prefix;
  int heads;
  int head_size;
  float scale;
};

// One query a window with the key and value projections folded around it: softmax over tokens t of scale * query_h . t,
// and per head the weighted sum of the tokens themselves.
struct QueryAttentionArgs {
  const float* query;     // [windows, heads, size]
  ConstRows prefix_rows;  // [windows * prefix, size] float32 or bfloat16
  ConstRows latent_rows;  // [windows * latents, size], the same type
  Rows out;               // [windows, heads * size] float32 or bfloat16
  int heads;
  int size;
  int prefix;
  int latents;
  float scale;
};

// W of one movie (supplementary, Eq. 2): w_ij = 1 iff u_i . v_j >= threshold and |i L_syn - j L_sh| < reach, i.e.
// within the band of half-width xi where reach = ceil(xi L_sh L_syn). Products of the inputs' type, sums float32.
struct BandedEstepArgs {
  ConstRows shots;      // u [L_sh, size] float32 or bfloat16
  ConstRows sentences;  // v [L_syn, size], the same type
  std::uint8_t* out;    // [L_sh, L_syn], or bits [L_sh, ceil(L_syn / 8)]: bit j % 8 of byte j / 8
  ptrdiff_t out_stride;
  int shot_count;
  int sentence_count;
  int size;
  std::int64_t reach;  // in [1, L_sh L_syn]
  float threshold;
  bool as_bits;
};

// out[r, :] = in[r, :] + in[r + 1, :] + ... + in[r + window - 1, :], added in this order.
struct WindowSumsArgs {
  ConstRows in;  // float32 or bfloat16
  Rows out;      // [rows, size] float32 or bfloat16
  int window;
  int size;
};

// Columns of a matrix of scores that are read together: bits of a word.
inline constexpr int kScoreBlock = 64;

// The highest score of a row within a block of columns, and the first column that has it.
struct BestColumn {
  float score;
  std::int32_t column;
};

// How many scores lie where: above `high`, and from `low` to `high` in bins of 2^shift neighbouring floats.
struct ScoreCounts {
  float low;
  float high;
  int shift;
  std::int64_t above;
  std::uint32_t* bins;
};

// Whole numbers in the order of the floats; 0 and -0 are one. (Inlined everywhere: targets share no function.)
[[gnu::always_inline]] inline std::int32_t order_of(float x) {
  std::int32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits < 0 ? -(bits & INT32_MAX) : bits;
}

// Scores of rows and one block of columns, as they come from linear; -0 is read as 0.
struct ScoreBlockArgs {
  const float* scores;  // [rows, kScoreBlock]; whole rows are read, also columns that are not free
  std::uint64_t free;   // bit j: column j counts
  int first;            // the number of column 0
  BestColumn* best;     // of every row, or null; a score of -infinity where no column is free
  ptrdiff_t best_stride;
  ScoreCounts* counts;  // or null
};

// Floats that product_ceiling reads, and as many that it writes.
inline constexpr int kCeilingFloats = 64 * 72;

struct KernelTable {
  const char* name;
  bool types[kTypes];  // that the target has products for; float32 and int16 are always there

  // A weight [n, k] and its bias (null: zeros) made ready for products of a type, in an order that only the target
  // knows. `packed` has linear_packed_size bytes, a multiple of 64, aligned to 64.
  std::size_t (*linear_packed_size)(Type, int n, int k);
  void (*linear_pack)(Type, const float* weight, const float* bias, int n, int k, void* packed);
  int (*linear_panel)(Type);  // columns of out that linear computes together
  void (*linear)(const LinearArgs&, int row_begin, int row_end, int panel_begin, int panel_end);
  void (*layer_norm)(const LayerNormArgs&, int begin, int end);
  void (*cast)(const CastArgs&, int begin, int end);
  void (*embed)(const EmbedArgs&, int begin, int end);
  void (*add_table)(const AddTableArgs&, int begin, int end);
  void (*add)(const AddArgs&, int begin, int end);
  void (*pool)(const PoolArgs&, int begin, int end);  // sequences
  void (*l2_normalise)(const L2NormaliseArgs&, int begin, int end);
  void (*gather)(const GatherArgs&, int begin, int end);
  void (*scatter_mean)(const ScatterMeanArgs&, int begin, int end);  // sequences

  // Keys and values of one sequence and head are laid out in panels once, then read by every block of queries. Sizes in
  // bytes, types those of the product.
  std::size_t (*attention_panels_size)(Type, int keys, int head_size);
  std::size_t (*attention_scratch_size)(Type, int head_size);
  // key_begin is a multiple of kPanelKeys.
  void (*attention_panels)(const AttentionArgs&, int batch, int head, int key_begin, int key_end, void* panels);
  void (*attention)(const AttentionArgs&, int batch, int head, int query_begin, int query_end, const void* panels,
                    void* scratch);
  std::size_t (*window_attention_scratch_size)(Type, int tokens, int head_size);
  void (*window_attention)(const WindowAttentionArgs&, int window, int head, void* scratch);
  std::size_t (*query_attention_scratch_size)(int heads, int keys);
  void (*query_attention)(const QueryAttentionArgs&, int window, void* scratch);
  bool (*banded_estep)(const BandedEstepArgs&, int begin, int end);  // false: a similarity in the band is not finite
  bool (*window_sums)(const WindowSumsArgs&, int begin, int end);    // false: an element or a sum is not finite
  bool (*score_block)(const ScoreBlockArgs&, int rows);              // false: a score is not finite

  // What the machine can do at most. Multiplies data in the L1 cache, and says how many operations that was.
  double (*product_ceiling)(Type, int times, const float* data, float* out);
  float (*read_ceiling)(const float* data, std::size_t count);  // their sum
};

// Keys that a task lays out are a multiple of this on every target.
inline constexpr int kPanelKeys = 512;

// One per target, defined by csrc/cpu/table.cpp.
namespace portable {
extern const KernelTable table;
}
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {  // F, BW, DQ, VL
extern const KernelTable table;
}
namespace avx512_vnni {  // and VNNI: int8
extern const KernelTable table;
}
namespace avx512_bf16 {  // and VNNI and BF16: int8, bfloat16
extern const KernelTable table;
}
namespace amx {  // and AMX-TILE, AMX-INT8, AMX-BF16
extern const KernelTable table;
}
namespace neon {  // Advanced SIMD of every 64-bit ARM
extern const KernelTable table;
}
namespace neon_dotprod {  // and FEAT_DotProd: int8
extern const KernelTable table;
}
namespace neon_i8mm {  // and FEAT_I8MM
extern const KernelTable table;
}
namespace neon_bf16 {  // and FEAT_BF16: bfloat16
extern const KernelTable table;
}

}  // namespace megaseg::cpu
