// The ops of the target being compiled; csrc/cpu/table.cpp collects them.
#pragma once

#include "cpu/kernels.h"
#include "cpu/vec.h"

namespace megaseg::cpu::MEGASEG_TARGET {

void linear(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end);
void layer_norm(const LayerNormArgs& args, int begin, int end);
void embed(const EmbedArgs& args, int begin, int end);
std::size_t attention_packed_size(int keys, int head_size);
std::size_t attention_scratch_size(int head_size);
void attention_pack(const AttentionArgs& args, int batch, int head, int key_begin, int key_end, float* packed);
void attention(const AttentionArgs& args, int batch, int head, int query_begin, int query_end, const float* packed,
               float* scratch);
std::size_t window_attention_scratch_size(int tokens, int head_size);
void window_attention(const WindowAttentionArgs& args, int window, int head, float* scratch);
std::size_t query_attention_scratch_size(int heads, int keys);
void query_attention(const QueryAttentionArgs& args, int window, float* scratch);

}  // namespace megaseg::cpu::MEGASEG_TARGET
