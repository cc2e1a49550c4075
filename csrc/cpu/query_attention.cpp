// One query a window with the projections of keys and values folded around it: tokens are read as they are.
#include "cpu/ops.h"

namespace {

using megaseg::cpu::QueryAttentionArgs;

constexpr float kLog2E = 1.44269504F;
constexpr int kHeads = 4;  // heads that share a token's load

struct Tokens {
  const float* bottleneck_rows;
  const float* latent_rows;
  int bottlenecks;
  ptrdiff_t size;

  MEGASEG_INLINE const float* row(int t) const {
    return t < bottlenecks ? bottleneck_rows + t * size : latent_rows + (t - bottlenecks) * size;
  }
};

// scores[h] = query_h . token for Heads heads; scores are `stride` apart.
template <int Heads>
MEGASEG_INLINE void score(const float* query, const float* token, int size, float* scores, ptrdiff_t stride) {
  Vec acc[Heads] = {};
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Vec x = load(token + i);
    MEGASEG_UNROLL
    for (int h = 0; h < Heads; ++h) acc[h] += x * load(query + static_cast<ptrdiff_t>(h) * size + i);
  }
  if (i < size) {
    const Vec x = load_partial(token + i, size - i);
    MEGASEG_UNROLL
    for (int h = 0; h < Heads; ++h) acc[h] += x * load_partial(query + static_cast<ptrdiff_t>(h) * size + i, size - i);
  }
  for (int h = 0; h < Heads; ++h) scores[h * stride] = sum(acc[h]);
}

MEGASEG_INLINE void softmax(float* row, int keys, int padded, float scale) {
  for (int i = keys; i < padded; ++i) row[i] = -1e30F;
  Vec top = splat(-1e30F);
  for (int i = 0; i < keys; i += kLanes) top = max(top, load(row + i));
  const float highest = maximum(top);
  Vec total{};
  for (int i = 0; i < keys; i += kLanes) {
    const Vec weight = exp2((load(row + i) - highest) * (scale * kLog2E));
    total += weight;
    store(row + i, weight);
  }
  const float share = 1.0F / sum(total);
  for (int i = 0; i < keys; i += kLanes) store(row + i, load(row + i) * share);
}

// out_h = sum over t of weights_h[t] * token_t for Heads heads.
template <int Heads>
MEGASEG_INLINE void gather(const float* weights, ptrdiff_t stride, const Tokens& tokens, int keys, float* out) {
  const int size = static_cast<int>(tokens.size);
  for (int i = 0; i < size; i += kLanes) {
    const int width = size - i < kLanes ? size - i : kLanes;
    Vec acc[Heads] = {};
    for (int t = 0; t < keys; ++t) {
      const float* token = tokens.row(t) + i;
      const Vec x = width == kLanes ? load(token) : load_partial(token, width);
      MEGASEG_UNROLL
      for (int h = 0; h < Heads; ++h) acc[h] += x * weights[h * stride + t];
    }
    for (int h = 0; h < Heads; ++h) {
      float* p = out + h * tokens.size + i;
      width == kLanes ? store(p, acc[h]) : store_partial(p, acc[h], width);
    }
  }
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t query_attention_scratch_size(int heads, int keys) {
  return static_cast<std::size_t>(heads) * static_cast<std::size_t>(round_up(keys, kLanes));
}

void query_attention(const QueryAttentionArgs& args, int window, float* scratch) {
  const ptrdiff_t size = args.size;
  const int keys = args.bottlenecks + args.latents;
  const int padded = round_up(keys, kLanes);
  const Tokens tokens{args.bottleneck_rows + static_cast<ptrdiff_t>(window) * args.bottlenecks * size,
                      args.latent_rows + static_cast<ptrdiff_t>(window) * args.latents * size, args.bottlenecks, size};
  const float* query = args.query + static_cast<ptrdiff_t>(window) * args.heads * size;
  float* out = args.out + static_cast<ptrdiff_t>(window) * args.heads * size;
  const int whole = args.heads / kHeads * kHeads;
  for (int t = 0; t < keys; ++t) {
    const float* token = tokens.row(t);
    int h = 0;
    for (; h < whole; h += kHeads) score<kHeads>(query + h * size, token, args.size, scratch + h * padded + t, padded);
    for (; h < args.heads; ++h) score<1>(query + h * size, token, args.size, scratch + h * padded + t, padded);
  }
  for (int h = 0; h < args.heads; ++h) softmax(scratch + h * padded, keys, padded, args.scale);
  int h = 0;
  for (; h < whole; h += kHeads) gather<kHeads>(scratch + h * padded, padded, tokens, keys, out + h * size);
  for (; h < args.heads; ++h) gather<1>(scratch + h * padded, padded, tokens, keys, out + h * size);
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
