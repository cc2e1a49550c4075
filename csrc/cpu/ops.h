// The ops of the target being compiled; csrc/cpu/table.cpp collects them.
#pragma once

#include "cpu/kernels.h"
#include "cpu/vec.h"

namespace {

// f(float{}) or f(BFloat16{}), by the storage of a matrix. A target without bfloat16 is never asked for it.
template <typename F>
MEGASEG_INLINE void with_type([[maybe_unused]] megaseg::cpu::Type type, F f) {
#if defined(MEGASEG_BF16)
  if (type == megaseg::cpu::Type::bfloat16) return f(BFloat16{});
#endif
  f(float{});
}

template <typename T>
MEGASEG_INLINE const T* row_of(const megaseg::cpu::ConstRows& rows, ptrdiff_t r) {
  return static_cast<const T*>(rows.data) + r * rows.stride;
}
template <typename T>
MEGASEG_INLINE T* row_of(const megaseg::cpu::Rows& rows, ptrdiff_t r) {
  return static_cast<T*>(rows.data) + r * rows.stride;
}

// The rows from `row` on, of each the elements from `column` on.
MEGASEG_INLINE megaseg::cpu::Rows at(const megaseg::cpu::Rows& rows, ptrdiff_t row, ptrdiff_t column) {
  return {static_cast<char*>(rows.data) + (row * rows.stride + column) * bytes_of(rows.type), rows.stride, rows.type};
}
template <typename T>
MEGASEG_INLINE auto* grids_at(const T& rows, ptrdiff_t r) {
  return rows.grids + r * megaseg::cpu::grids_of(rows.stride);
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t linear_packed_size(Type type, int n, int k);
void linear_pack(Type type, const float* weight, const float* bias, int n, int k, void* packed);
int linear_panel(Type type);
void linear(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end);
void layer_norm(const LayerNormArgs& args, int begin, int end);
void cast(const CastArgs& args, int begin, int end);
void embed(const EmbedArgs& args, int begin, int end);
void add_table(const AddTableArgs& args, int begin, int end);
void add(const AddArgs& args, int begin, int end);
void pool(const PoolArgs& args, int begin, int end);
void l2_normalise(const L2NormaliseArgs& args, int begin, int end);
void gather(const GatherArgs& args, int begin, int end);
void scatter_mean(const ScatterMeanArgs& args, int begin, int end);
std::size_t attention_panels_size(Type type, int keys, int head_size);
std::size_t attention_scratch_size(Type type, int head_size);
void attention_panels(const AttentionArgs& args, int batch, int head, int key_begin, int key_end, void* panels);
void attention(const AttentionArgs& args, int batch, int head, int query_begin, int query_end, const void* panels,
               void* scratch);
std::size_t window_attention_scratch_size(Type type, int tokens, int head_size);
void window_attention(const WindowAttentionArgs& args, int window, int head, void* scratch);
std::size_t query_attention_scratch_size(int heads, int keys);
void query_attention(const QueryAttentionArgs& args, int window, void* scratch);
bool banded_estep(const BandedEstepArgs& args, int begin, int end);
bool window_sums(const WindowSumsArgs& args, int begin, int end);
bool score_block(const ScoreBlockArgs& args, int rows);
double product_ceiling(Type type, int times, const float* data, float* out);
float read_ceiling(const float* data, std::size_t count);

}  // namespace megaseg::cpu::MEGASEG_TARGET
