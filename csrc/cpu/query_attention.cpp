// One query a window with the projections of keys and values folded around it: tokens are read as they are.
#include "cpu/ops.h"

namespace {

using megaseg::cpu::QueryAttentionArgs;

constexpr float kLog2E = 1.44269504F;
constexpr int kHeads = 4;   // heads that share a token's load
constexpr int kTokens = 4;  // tokens that share a query's load
constexpr int kVecs = 2;    // vectors of a token's row that share its weight

// A window's tokens: prefix tokens, then latents.
template <typename T>
struct Tokens {
  const T* prefix_rows;
  const T* latent_rows;
  ptrdiff_t prefix_stride;
  ptrdiff_t latent_stride;
  int prefix;
  int count;

  MEGASEG_INLINE Tokens(const QueryAttentionArgs& args, int window)
      : prefix_rows(row_of<T>(args.prefix_rows, static_cast<ptrdiff_t>(window) * args.prefix)),
        latent_rows(row_of<T>(args.latent_rows, static_cast<ptrdiff_t>(window) * args.latents)),
        prefix_stride(args.prefix_rows.stride),
        latent_stride(args.latent_rows.stride),
        prefix(args.prefix),
        count(args.prefix + args.latents) {}
  MEGASEG_INLINE const T* row(int t) const {
    return t < prefix ? prefix_rows + t * prefix_stride : latent_rows + (t - prefix) * latent_stride;
  }
};

// scores[h, t] = query_h . token_t for Heads heads and Count tokens; rows of scores are `stride` apart.
template <int Heads, int Count, typename T>
MEGASEG_INLINE void score(const float* query, const Tokens<T>& tokens, int t, int size, float* scores,
                          ptrdiff_t stride) {
  const T* row[Count];
  for (int j = 0; j < Count; ++j) row[j] = tokens.row(t + j);
  Vec acc[Heads][Count] = {};
  const auto step = [&](const auto& read, int i) {
    Vec x[Count];
    MEGASEG_UNROLL
    for (int j = 0; j < Count; ++j) x[j] = read(row[j] + i);
    MEGASEG_UNROLL
    for (int h = 0; h < Heads; ++h) {
      const Vec q = read(query + static_cast<ptrdiff_t>(h) * size + i);
      MEGASEG_UNROLL
      for (int j = 0; j < Count; ++j) acc[h][j] += q * x[j];
    }
  };
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) step([](const auto* p) { return load(p); }, i);
  if (i < size) step([&](const auto* p) { return load_partial(p, size - i); }, i);
  for (int h = 0; h < Heads; ++h) {
    for (int j = 0; j < Count; ++j) scores[h * stride + t + j] = sum(acc[h][j]);
  }
}

template <int Heads, typename T>
void score_all(const float* query, const Tokens<T>& tokens, int size, float* scores, ptrdiff_t stride) {
  int t = 0;
  for (; t + kTokens <= tokens.count; t += kTokens) score<Heads, kTokens>(query, tokens, t, size, scores, stride);
  for (; t < tokens.count; ++t) score<Heads, 1>(query, tokens, t, size, scores, stride);
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

// out[h, i:i + width] = sum over t of weights[h, t] * token_t for Heads heads, width <= Vecs * kLanes.
template <int Heads, int Vecs, typename T, typename Out>
MEGASEG_INLINE void gather(const float* weights, ptrdiff_t stride, const Tokens<T>& tokens, int size, int i, int width,
                           Out* out) {
  Vec acc[Heads][Vecs] = {};
  for (int t = 0; t < tokens.count; ++t) {
    const T* token = tokens.row(t) + i;
    Vec x[Vecs];
    MEGASEG_UNROLL
    for (int j = 0; j < Vecs; ++j) {
      x[j] = Vecs > 1 || width == kLanes ? load(token + j * kLanes) : load_partial(token, width);
    }
    MEGASEG_UNROLL
    for (int h = 0; h < Heads; ++h) {
      MEGASEG_UNROLL
      for (int j = 0; j < Vecs; ++j) acc[h][j] += x[j] * weights[h * stride + t];
    }
  }
  for (int h = 0; h < Heads; ++h) {
    for (int j = 0; j < Vecs; ++j) {
      Out* p = out + static_cast<ptrdiff_t>(h) * size + i + j * kLanes;
      Vecs > 1 || width == kLanes ? store(p, acc[h][j]) : store_partial(p, acc[h][j], width);
    }
  }
}

template <int Heads, typename T, typename Out>
void gather_all(const float* weights, ptrdiff_t stride, const Tokens<T>& tokens, int size, Out* out) {
  int i = 0;
  for (; i + kVecs * kLanes <= size; i += kVecs * kLanes) {
    gather<Heads, kVecs>(weights, stride, tokens, size, i, kVecs * kLanes, out);
  }
  for (; i < size; i += kLanes) {
    gather<Heads, 1>(weights, stride, tokens, size, i, size - i < kLanes ? size - i : kLanes, out);
  }
}

// f<kHeads>(h) for whole groups of heads, f<1>(h) for the others.
template <typename F>
MEGASEG_INLINE void by_heads(int heads, const F& f) {
  int h = 0;
  for (; h + kHeads <= heads; h += kHeads) f.template operator()<kHeads>(h);
  for (; h < heads; ++h) f.template operator()<1>(h);
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t query_attention_scratch_size(int heads, int keys) {
  return 4 * static_cast<std::size_t>(heads) * static_cast<std::size_t>(round_up(keys, kLanes));
}

void query_attention(const QueryAttentionArgs& args, int window, void* scratch) {
  const int size = args.size;
  const int keys = args.prefix + args.latents;
  const int padded = round_up(keys, kLanes);
  const ptrdiff_t width = size;
  const float* query = args.query + window * args.heads * width;
  auto* scores = static_cast<float*>(scratch);
  with_type(args.latent_rows.type, [&]<typename T>(T) {
    const Tokens<T> tokens(args, window);
    by_heads(args.heads,
             [&]<int Heads>(int h) { score_all<Heads>(query + h * width, tokens, size, scores + h * padded, padded); });
    for (int h = 0; h < args.heads; ++h) softmax(scores + h * padded, keys, padded, args.scale);
    with_type(args.out.type, [&]<typename Out>(Out) {
      Out* out = row_of<Out>(args.out, window);
      by_heads(args.heads, [&]<int Heads>(int h) {
        gather_all<Heads>(scores + h * padded, padded, tokens, size, out + h * width);
      });
    });
  });
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
