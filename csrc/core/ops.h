// Ops over whole matrices: each splits its work into tasks for the pool and hands them to the target's kernel.
#pragma once

#include <vector>

#include "core/memory.h"
#include "core/thread_pool.h"
#include "cpu/kernels.h"

namespace megaseg {

// A weight [n, k] in the target's panels, and its bias (zeros when the model has none).
struct Linear {
  Buffer weight;
  Buffer bias;
  int n = 0;
  int k = 0;

  std::size_t bytes() const { return weight.bytes() + bias.bytes(); }
};

// A rectangle of a row-major matrix: `stride` floats from row to row.
struct Matrix {
  float* data;
  std::ptrdiff_t stride;

  Matrix from(std::ptrdiff_t row, std::ptrdiff_t column = 0) const { return {data + row * stride + column, stride}; }
};

struct ConstMatrix {
  const float* data;
  std::ptrdiff_t stride;

  ConstMatrix(const float* from, std::ptrdiff_t row_stride) : data(from), stride(row_stride) {}
  ConstMatrix(const Matrix& m) : data(m.data), stride(m.stride) {}  // NOLINT: a view converts
};

class Ops {
 public:
  Ops(const cpu::KernelTable& kernels, int num_threads) : kernels_(kernels), pool_(num_threads) {}

  const cpu::KernelTable& kernels() const { return kernels_; }
  ThreadPool& pool() { return pool_; }
  int threads() const { return pool_.size(); }

  // weight(row, column) is at weight[row * row_stride + column * column_stride]; bias may be null.
  Linear pack(const float* weight, const float* bias, int n, int k, std::ptrdiff_t row_stride,
              std::ptrdiff_t column_stride = 1) const;

  // out = activation(in W^T + bias [+ residual])
  void linear(ConstMatrix in, const Linear& weight, Matrix out, int rows,
              cpu::Activation activation = cpu::Activation::none, const Matrix* residual = nullptr);
  void layer_norm(const cpu::LayerNormArgs& args, int rows);
  void embed(const cpu::EmbedArgs& args, int rows);
  // `scratch` has room for attention_scratch(...) floats.
  void attention(const cpu::AttentionArgs& args, int heads, float* scratch);
  void window_attention(const cpu::WindowAttentionArgs& args, float* scratch);
  void query_attention(const cpu::QueryAttentionArgs& args, int windows, float* scratch);

  std::size_t attention_scratch(int batch, int heads, int head_size, int queries, int keys) const;
  std::size_t window_attention_scratch(int tokens, int head_size) const;
  std::size_t query_attention_scratch(int heads, int keys) const;

 private:
  bool packs_once(int batch, int heads, int queries) const;

  const cpu::KernelTable& kernels_;
  ThreadPool pool_;
};

}  // namespace megaseg
