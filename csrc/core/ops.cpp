#include "core/ops.h"

#include <algorithm>

namespace megaseg {
namespace {

constexpr int kQueriesPerTask = 96;
constexpr int kKeysPerTask = 512;  // a multiple of every target's panel
constexpr std::size_t kLine = 16;  // floats: threads' scratch areas share no cache line

int ceil_div(int a, int b) { return (a + b - 1) / b; }
std::size_t whole_lines(std::size_t floats) { return (floats + kLine - 1) / kLine * kLine; }

}  // namespace

Linear Ops::pack(const float* weight, const float* bias, int n, int k, std::ptrdiff_t row_stride,
                 std::ptrdiff_t column_stride) const {
  const int panel = kernels_.panel;
  const int padded = ceil_div(n, panel) * panel;
  Linear packed{Buffer(static_cast<std::size_t>(padded) * static_cast<std::size_t>(k)),
                Buffer(static_cast<std::size_t>(padded)), n, k};
  for (int row = 0; row < padded; ++row) {
    float* to = packed.weight.data() + static_cast<std::ptrdiff_t>(row / panel) * panel * k + row % panel;
    for (int column = 0; column < k; ++column) {
      to[static_cast<std::ptrdiff_t>(column) * panel] =
          row < n ? weight[row * row_stride + column * column_stride] : 0.0F;
    }
    packed.bias.data()[row] = row < n && bias ? bias[row] : 0.0F;
  }
  return packed;
}

void Ops::linear(ConstMatrix in, const Linear& weight, Matrix out, int rows, cpu::Activation activation,
                 const Matrix* residual) {
  const cpu::LinearArgs args{in.data,
                             in.stride,
                             weight.weight.data(),
                             weight.bias.data(),
                             residual ? residual->data : nullptr,
                             residual ? residual->stride : 0,
                             out.data,
                             out.stride,
                             weight.n,
                             weight.k,
                             activation};
  // Threads take neighbouring row blocks of the same panel: it comes from memory once for all of them.
  const int panels = ceil_div(weight.n, kernels_.panel);
  const int wanted = 4 * threads();
  const int row_blocks = std::clamp(ceil_div(wanted, panels), 1, std::max(1, rows / 24));
  const int block = ceil_div(ceil_div(rows, row_blocks), 6) * 6;
  const int blocks = block ? ceil_div(rows, block) : 0;
  pool_.run(blocks * panels, [&](int task, int) {
    const int begin = task % blocks * block;
    kernels_.linear(args, begin, std::min(rows, begin + block), task / blocks, task / blocks + 1);
  });
}

void Ops::layer_norm(const cpu::LayerNormArgs& args, int rows) {
  const int block = std::max(16, ceil_div(rows, 4 * threads()));
  pool_.run(ceil_div(rows, block),
            [&](int task, int) { kernels_.layer_norm(args, task * block, std::min(rows, (task + 1) * block)); });
}

void Ops::embed(const cpu::EmbedArgs& args, int rows) {
  const int block = std::max(16, ceil_div(rows, 4 * threads()));
  pool_.run(ceil_div(rows, block),
            [&](int task, int) { kernels_.embed(args, task * block, std::min(rows, (task + 1) * block)); });
}

bool Ops::packs_once(int batch, int heads, int queries) const {
  return queries > kQueriesPerTask || batch * heads < threads();
}

std::size_t Ops::attention_scratch(int batch, int heads, int head_size, int queries, int keys) const {
  const std::size_t packed = whole_lines(kernels_.attention_packed_size(keys, head_size));
  const std::size_t one = whole_lines(kernels_.attention_scratch_size(head_size));
  const auto count = static_cast<std::size_t>(threads());
  return packs_once(batch, heads, queries) ? static_cast<std::size_t>(batch * heads) * packed + count * one
                                           : count * (packed + one);
}

void Ops::attention(const cpu::AttentionArgs& args, int heads, float* scratch) {
  const int keys = args.bottlenecks + args.latents;
  const int queries = args.query_bottlenecks + args.query_latents;
  const std::size_t packed = whole_lines(kernels_.attention_packed_size(keys, args.head_size));
  const std::size_t one = whole_lines(kernels_.attention_scratch_size(args.head_size));
  const int pairs = args.batch * heads;
  if (!packs_once(args.batch, heads, queries)) {
    pool_.run(pairs, [&](int task, int thread) {
      float* mine = scratch + static_cast<std::size_t>(thread) * (packed + one);
      kernels_.attention_pack(args, task / heads, task % heads, 0, keys, mine);
      kernels_.attention(args, task / heads, task % heads, 0, queries, mine, mine + packed);
    });
    return;
  }
  float* rest = scratch + static_cast<std::size_t>(pairs) * packed;
  const int key_tasks = ceil_div(keys, kKeysPerTask);
  pool_.run(pairs * key_tasks, [&](int task, int) {
    const int pair = task / key_tasks;
    const int begin = task % key_tasks * kKeysPerTask;
    kernels_.attention_pack(args, pair / heads, pair % heads, begin, std::min(keys, begin + kKeysPerTask),
                            scratch + static_cast<std::size_t>(pair) * packed);
  });
  const int query_tasks = ceil_div(queries, kQueriesPerTask);
  pool_.run(pairs * query_tasks, [&](int task, int thread) {
    const int pair = task / query_tasks;
    const int begin = task % query_tasks * kQueriesPerTask;
    kernels_.attention(args, pair / heads, pair % heads, begin, std::min(queries, begin + kQueriesPerTask),
                       scratch + static_cast<std::size_t>(pair) * packed,
                       rest + static_cast<std::size_t>(thread) * one);
  });
}

std::size_t Ops::window_attention_scratch(int tokens, int head_size) const {
  return static_cast<std::size_t>(threads()) * whole_lines(kernels_.window_attention_scratch_size(tokens, head_size));
}

void Ops::window_attention(const cpu::WindowAttentionArgs& args, float* scratch) {
  const std::size_t one =
      whole_lines(kernels_.window_attention_scratch_size(args.bottlenecks + args.length, args.head_size));
  pool_.run(args.windows * args.heads, [&](int task, int thread) {
    kernels_.window_attention(args, task / args.heads, task % args.heads,
                              scratch + static_cast<std::size_t>(thread) * one);
  });
}

std::size_t Ops::query_attention_scratch(int heads, int keys) const {
  return static_cast<std::size_t>(threads()) * whole_lines(kernels_.query_attention_scratch_size(heads, keys));
}

void Ops::query_attention(const cpu::QueryAttentionArgs& args, int windows, float* scratch) {
  const std::size_t one =
      whole_lines(kernels_.query_attention_scratch_size(args.heads, args.bottlenecks + args.latents));
  pool_.run(windows, [&](int window, int thread) {
    kernels_.query_attention(args, window, scratch + static_cast<std::size_t>(thread) * one);
  });
}

}  // namespace megaseg
