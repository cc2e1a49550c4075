// Softmax attention over two key sets, bottleneck tokens and latents, one head at a time. Keys are taken in blocks with a
// running maximum, so that scores never exceed one block of queries by one block of keys.
#include "cpu/ops.h"
#include "cpu/tile.h"

namespace {

using megaseg::cpu::AttentionArgs;
using megaseg::cpu::WindowAttentionArgs;

constexpr int kQueryBlock = 24;  // rows that share a block of keys while it is in the L1 cache
constexpr int kKeyBlock = 128;   // a multiple of kPanel on every target
constexpr float kLog2E = 1.44269504F;

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }

// The row of token t of sequence b, when a matrix holds all bottleneck tokens before all latents.
MEGASEG_INLINE ptrdiff_t token_row(int batch, int b, int t, int bottlenecks, int latents) {
  return t < bottlenecks ? static_cast<ptrdiff_t>(b) * bottlenecks + t
                         : static_cast<ptrdiff_t>(batch) * bottlenecks + static_cast<ptrdiff_t>(b) * latents + t - bottlenecks;
}

// Packed keys: [keys / kPanel, head_size, kPanel], then values: [keys, head_size rounded up to whole vectors].
MEGASEG_INLINE ptrdiff_t packed_keys(int keys) { return round_up(keys, kPanel); }

// Vectors of keys in the panel at `key`.
MEGASEG_INLINE int panel_vecs(int key, int keys) {
  const int left = keys - key;
  return left >= kPanel ? kTileVecs : (left + kLanes - 1) / kLanes;
}

struct State {
  float* query;   // [kQueryBlock, head_size], scaled
  float* scores;  // [kQueryBlock, kKeyBlock]
  float* out;     // [kQueryBlock, padded head_size]
  float maximum[kQueryBlock];
  float total[kQueryBlock];
};

// Scores of one block to weights 2^(score - maximum), with maximum and total carried on and `out` rescaled.
MEGASEG_INLINE void soften(State& state, int rows, int keys, int padded) {
  for (int r = 0; r < rows; ++r) {
    float* row = state.scores + r * kKeyBlock;
    for (int i = keys; i < round_up(keys, kLanes); ++i) row[i] = -1e30F;  // padding keys take no part
    Vec top = splat(state.maximum[r]);
    for (int i = 0; i < keys; i += kLanes) top = max(top, load(row + i));
    const float maximum_now = maximum(top);
    const Vec rescale = exp2(splat(state.maximum[r] - maximum_now));
    Vec total{};
    for (int i = 0; i < keys; i += kLanes) {
      const Vec weight = exp2(load(row + i) - maximum_now);
      total += weight;
      store(row + i, weight);
    }
    for (int i = 0; i < padded; i += kLanes) store(state.out + r * padded + i, load(state.out + r * padded + i) * rescale);
    state.maximum[r] = maximum_now;
    state.total[r] = state.total[r] * rescale[0] + sum(total);
  }
}

// One block of queries against all keys.
void attend(State& state, int rows, int keys, int head_size, const float* packed) {
  const int padded = round_up(head_size, kLanes);
  const float* values = packed + packed_keys(keys) * head_size;
  for (int i = 0; i < rows * padded; i += kLanes) store(state.out + i, Vec{});
  for (int r = 0; r < rows; ++r) state.maximum[r] = -1e30F, state.total[r] = 0;
  for (int block = 0; block < keys; block += kKeyBlock) {
    const int count = keys - block < kKeyBlock ? keys - block : kKeyBlock;
    for (int key = 0; key < count; key += kPanel) {
      product<false>(state.query, head_size, packed + static_cast<ptrdiff_t>(block + key) * head_size, kPanel, head_size,
                     state.scores + key, kKeyBlock, rows, panel_vecs(key, count));
    }
    soften(state, rows, count, padded);
    for (int column = 0; column < padded; column += kPanel) {
      const int vecs = panel_vecs(column, padded);
      product<true>(state.scores, kKeyBlock, values + static_cast<ptrdiff_t>(block) * padded + column, padded, count,
                    state.out + column, padded, rows, vecs);
    }
  }
}

MEGASEG_INLINE void copy_scaled(const float* in, float* out, int size, float scale) {
  for (int i = 0; i < size; ++i) out[i] = in[i] * scale;
}

// out[i] = (shot[i] + position[i]) * scale + shift[i]
MEGASEG_INLINE void evaluate(const float* shot, const float* position, const float* shift, float scale, float* out, int size) {
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    store(out + i, (load(shot + i) + load(position + i)) * scale + load(shift + i));
  }
  for (; i < size; ++i) out[i] = (shot[i] + position[i]) * scale + shift[i];
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t attention_packed_size(int keys, int head_size) {
  return static_cast<std::size_t>(packed_keys(keys)) * static_cast<std::size_t>(head_size + round_up(head_size, kLanes));
}

std::size_t attention_scratch_size(int head_size) {
  const int padded = round_up(head_size, kLanes);
  return static_cast<std::size_t>(kQueryBlock) * static_cast<std::size_t>(2 * padded + kKeyBlock);
}

void attention_pack(const AttentionArgs& args, int batch, int head, int key_begin, int key_end, float* packed) {
  const int d = args.head_size;
  const int padded = round_up(d, kLanes);
  const int keys = args.bottlenecks + args.latents;
  float* values = packed + packed_keys(keys) * d;
  for (int t = key_begin; t < key_end; ++t) {
    const ptrdiff_t at = token_row(args.batch, batch, t, args.bottlenecks, args.latents) * args.kv_stride +
                         static_cast<ptrdiff_t>(head) * d;
    float* column = packed + static_cast<ptrdiff_t>(t / kPanel) * kPanel * d + t % kPanel;
    for (int i = 0; i < d; ++i) column[static_cast<ptrdiff_t>(i) * kPanel] = args.k[at + i];
    float* value = values + static_cast<ptrdiff_t>(t) * padded;
    for (int i = 0; i < padded; ++i) value[i] = i < d ? args.v[at + i] : 0.0F;
  }
  if (key_end < keys) return;
  for (int t = keys; t < packed_keys(keys); ++t) {
    float* column = packed + static_cast<ptrdiff_t>(t / kPanel) * kPanel * d + t % kPanel;
    for (int i = 0; i < d; ++i) column[static_cast<ptrdiff_t>(i) * kPanel] = 0.0F;
  }
}

void attention(const AttentionArgs& args, int batch, int head, int query_begin, int query_end, const float* packed,
               float* scratch) {
  const int d = args.head_size;
  const int padded = round_up(d, kLanes);
  State state{scratch, scratch + kQueryBlock * padded, scratch + kQueryBlock * (padded + kKeyBlock), {}, {}};
  for (int begin = query_begin; begin < query_end; begin += kQueryBlock) {
    const int rows = query_end - begin < kQueryBlock ? query_end - begin : kQueryBlock;
    const auto at = [&](int r) {
      return token_row(args.batch, batch, begin + r, args.query_bottlenecks, args.query_latents);
    };
    for (int r = 0; r < rows; ++r) {
      copy_scaled(args.q + at(r) * args.q_stride + static_cast<ptrdiff_t>(head) * d, state.query + r * d, d,
                  args.scale * kLog2E);
    }
    attend(state, rows, args.bottlenecks + args.latents, d, packed);
    for (int r = 0; r < rows; ++r) {
      copy_scaled(state.out + r * padded, args.out + at(r) * args.out_stride + static_cast<ptrdiff_t>(head) * d, d,
                  1.0F / state.total[r]);
    }
  }
}

std::size_t window_attention_scratch_size(int tokens, int head_size) {
  return 3 * static_cast<std::size_t>(tokens) * static_cast<std::size_t>(head_size) +
         attention_packed_size(tokens, head_size) + attention_scratch_size(head_size);
}

void window_attention(const WindowAttentionArgs& args, int window, int head, float* scratch) {
  const int d = args.head_size;
  const ptrdiff_t size = static_cast<ptrdiff_t>(args.heads) * d;
  const int tokens = args.bottlenecks + args.length;
  float* part[3];  // q, k, v: [tokens, head_size]
  for (int p = 0; p < 3; ++p) {
    const ptrdiff_t column = p * size + static_cast<ptrdiff_t>(head) * d;
    part[p] = scratch + static_cast<ptrdiff_t>(p) * tokens * d;
    for (int t = 0; t < args.bottlenecks; ++t) copy_scaled(args.bottleneck + t * 3 * size + column, part[p] + t * d, d, 1.0F);
    for (int j = 0; j < args.length; ++j) {
      evaluate(args.shot + args.rows.row(window, j) * 3 * size + column, args.position + j * 3 * size + column,
               args.shift + column, args.inverse_sigma[static_cast<ptrdiff_t>(window) * args.length + j],
               part[p] + static_cast<ptrdiff_t>(args.bottlenecks + j) * d, d);
    }
  }
  float* packed = scratch + 3 * static_cast<ptrdiff_t>(tokens) * d;
  float* rest = packed + attention_packed_size(tokens, d);
  // `out` is the whole batch's; queries are this window's alone.
  AttentionArgs one{part[0], part[1], part[2], nullptr, d, d, size, 1, d, args.bottlenecks, args.length, args.bottlenecks,
                    args.length, args.scale};
  attention_pack(one, 0, 0, 0, tokens, packed);
  // q has been consumed block by block before the same rows of out are written: results go over the queries.
  one.out = part[0];
  one.out_stride = d;
  attention(one, 0, 0, 0, tokens, packed, rest);
  for (int t = 0; t < tokens; ++t) {
    const ptrdiff_t row = token_row(args.windows, window, t, args.bottlenecks, args.length);
    copy_scaled(part[0] + t * d, args.out + row * size + static_cast<ptrdiff_t>(head) * d, d, 1.0F);
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
