// Ops over whole matrices: each splits its work into tasks for the pool and hands them to the target's kernel.
#pragma once

#include <cstddef>
#include <vector>

#include "core/platform/thread_pool.h"
#include "cpu/kernels.h"

namespace megaseg {

class Ops {
 public:
  Ops(const cpu::KernelTable& kernels, int num_threads) : kernels_(kernels), pool_(num_threads) {}

  const cpu::KernelTable& kernels() const { return kernels_; }
  ThreadPool& thread_pool() { return pool_; }
  int threads() const { return pool_.size(); }

  void linear(const cpu::LinearArgs& args, int rows);
  void layer_norm(const cpu::LayerNormArgs& args, int rows);
  void cast(const cpu::CastArgs& args, int rows);
  void embed(const cpu::EmbedArgs& args, int rows);
  void add_table(const cpu::AddTableArgs& args, int rows);
  void add(const cpu::AddArgs& args, int rows);
  void pool(const cpu::PoolArgs& args, int sequences);
  void l2_normalise(const cpu::L2NormaliseArgs& args, int rows);
  void gather(const cpu::GatherArgs& args, int rows);
  void scatter_mean(const cpu::ScatterMeanArgs& args, int sequences);
  // `columns` elements of every row; in and out are of one type.
  void copy(const cpu::ConstRows& in, const cpu::Rows& out, int rows, int columns);
  // `scratch` has room for ..._scratch(...) bytes, cache-line aligned.
  void attention(const cpu::AttentionArgs& args, void* scratch);
  void window_attention(const cpu::WindowAttentionArgs& args, void* scratch);
  void query_attention(const cpu::QueryAttentionArgs& args, int windows, void* scratch);

  // The movies with a similarity in the band that is not finite, in order.
  std::vector<int> banded_estep(const std::vector<cpu::BandedEstepArgs>& movies);

  // Bound for any batch of these numbers: sequences of at most `queries` queries, and of keys at most `longest` past
  // the prefix, `rows` in all.
  std::size_t attention_scratch(cpu::Type type, int batch, int heads, int head_size, int queries, int prefix,
                                int longest, int rows) const;
  std::size_t window_attention_scratch(cpu::Type type, int tokens, int head_size) const;
  std::size_t query_attention_scratch(int heads, int keys) const;

 private:
  const cpu::KernelTable& kernels_;
  ThreadPool pool_;
};

}  // namespace megaseg
