// Attention over bottleneck tokens and latents (supplementary, Table 1a), both read where they lie, with the online
// softmax of FlashAttention (Dao et al., 2022).
//
// With heads of 32 a score costs one exponential and 128 FLOP. On an H100's multiprocessor, 16 exponentials and at most
// 4,096 FLOP a clock, 128 scores take 8 clocks of the one and 4 or more of the other: mma.sync bounds the act model
// only below half of that peak. So there is no wgmma here until a measurement asks for it.
#include "cuda/tile.cuh"

namespace megaseg::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kLanes;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Tokens of one sequence: `own` bottleneck rows, then its latents.
struct Sequence {
  std::int64_t first_own;
  std::int64_t first_latent;  // less own
  int own;
  int tokens;

  MEGASEG_DEVICE Sequence(const BottleneckAttentionArgs& args, int sequence, int bottlenecks)
      : first_own(static_cast<std::int64_t>(sequence) * bottlenecks),
        first_latent(static_cast<std::int64_t>(args.batch) * bottlenecks + args.begin[sequence] - bottlenecks),
        own(bottlenecks),
        tokens(bottlenecks + args.begin[sequence + 1] - args.begin[sequence]) {}

  MEGASEG_DEVICE std::int64_t row(int token) const { return (token < own ? first_own : first_latent) + token; }
};

MEGASEG_DEVICE const std::uint16_t* at(const ConstRows& rows, std::int64_t row, int column) {
  return static_cast<const std::uint16_t*>(rows.data) + row * rows.stride + column;
}

// Queues keys and values from `start` on, zeros beyond the last token.
template <int kKeys, int kSize, int kCopying>
MEGASEG_DEVICE void load_keys(const BottleneckAttentionArgs& args, const Sequence& keys, int start, int column,
                              unsigned char* tile, int thread) {
  const auto rows_of = [&](const ConstRows& rows) {
    return [&, start, column](int key) {
      return start + key < keys.tokens ? at(rows, keys.row(start + key), column) : nullptr;
    };
  };
  copy_rows<kKeys, kSize, kCopying>(tile, thread, kSize, rows_of(args.k));
  copy_rows<kKeys, kSize, kCopying>(tile + kTileBytes<kKeys, kSize>, thread, kSize, rows_of(args.v));
}

// A warp's queries: kTiles tiles of 16, of which lane l has rows l / 4 and l / 4 + 8 ("half" 0 and 1).
template <Type kType, int kSize, int kTiles, int kKeys>
struct Queries {
  std::uint32_t query[kTiles][kSize / 16][4];  // first operands
  float peak[kTiles][2];                       // highest score so far, scaled
  float total[kTiles][2];                      // this lane's part
  float sums[kTiles][kSize / 8][4];            // sums of values

  MEGASEG_DEVICE void load(const BottleneckAttentionArgs& args, const Sequence& rows, int first, int column, int lane) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int token = first + tile * 16 + half * 8 + lane / 4;
        peak[tile][half] = -kInfinity;
        total[tile][half] = 0;
#pragma unroll
        for (int part = 0; part < kSize / 32; ++part) {  // two steps of 16
          Chunk chunk{};
          if (token < rows.tokens) {
            chunk = load_chunk(at(args.q, rows.row(token), column + part * 32 + lane % 4 * kChunkSize));
          }
          transpose_quad(chunk, lane);
#pragma unroll
          for (int i = 0; i < 4; ++i) query[tile][2 * part + i / 2][half + i % 2 * 2] = chunk.word[i];
        }
      }
#pragma unroll
      for (int n = 0; n < kSize / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[tile][n][i] = 0;
      }
    }
  }

  // Keys and values of one tile, `left` of them before the sequence ends.
  MEGASEG_DEVICE void fold(const unsigned char* keys, int left, float scale, int lane) {
    float score[kTiles][kKeys / 8][4] = {};
    multiply_keys(keys + chunks_first<kSize>(lane), score);
    if (left < kKeys) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const bool beyond = n * 8 + lane % 4 * 2 + i % 2 >= left;
#pragma unroll
          for (int tile = 0; tile < kTiles; ++tile) score[tile][n][i] = beyond ? -kInfinity : score[tile][n][i];
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) weigh(tile, half, score[tile], scale);
    }
    multiply_values(keys + kTileBytes<kKeys, kSize> + rows_first<kSize>(lane), score);
  }

  MEGASEG_DEVICE void store(const Rows& out, const Sequence& rows, int first, int column, int lane) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int token = first + tile * 16 + half * 8 + lane / 4;
        float whole = total[tile][half];
        whole += shuffle_xor(whole, 1);
        whole += shuffle_xor(whole, 2);
        const float inverse = 1 / whole;
#pragma unroll
        for (int part = 0; part < kSize / 32; ++part) {
          Chunk chunk;
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const float (&sum)[4] = sums[tile][4 * part + i];
            chunk.word[i] = pack<kType>(sum[2 * half] * inverse, sum[2 * half + 1] * inverse);
          }
          transpose_quad(chunk, lane);
          if (token >= rows.tokens) continue;
          store_chunk(static_cast<std::uint16_t*>(out.data) + rows.row(token) * out.stride + column + part * 32 +
                          lane % 4 * kChunkSize,
                      chunk);
        }
      }
    }
  }

 private:
  MEGASEG_DEVICE void multiply_keys(const unsigned char* keys, float (&score)[kTiles][kKeys / 8][4]) {
#pragma unroll
    for (int step = 0; step < kSize / 16; ++step) {
#pragma unroll
      for (int pair = 0; pair < kKeys / 16; ++pair) {
        std::uint32_t key[4];
        ldmatrix(key, keys + pair * 16 * kPitch<kSize> + step * 2 * kChunk);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          mma<kType>(score[tile][2 * pair], query[tile][step], key[0], key[1]);
          mma<kType>(score[tile][2 * pair + 1], query[tile][step], key[2], key[3]);
        }
      }
    }
  }

  // Scores of one row become weights; what was summed under a lower peak shrinks.
  MEGASEG_DEVICE void weigh(int tile, int half, float (&score)[kKeys / 8][4], float scale) {
    float highest = -kInfinity;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
      highest = maximum(highest, maximum(score[n][2 * half], score[n][2 * half + 1]));
    }
    highest = maximum(highest, shuffle_xor(highest, 1));
    highest = maximum(highest, shuffle_xor(highest, 2));
    const float new_peak = maximum(peak[tile][half], highest * scale);
    const float kept = exp2_approx(peak[tile][half] - new_peak);
    peak[tile][half] = new_peak;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        score[n][i] = exp2_approx(score[n][i] * scale - new_peak);
        sum += score[n][i];
      }
    }
    total[tile][half] = total[tile][half] * kept + sum;
#pragma unroll
    for (int n = 0; n < kSize / 8; ++n) {
      sums[tile][n][2 * half] *= kept;
      sums[tile][n][2 * half + 1] *= kept;
    }
  }

  // The weights of two tiles of 8 keys are, rounded, a first operand as they lie.
  MEGASEG_DEVICE void multiply_values(const unsigned char* values, const float (&weight)[kTiles][kKeys / 8][4]) {
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
      std::uint32_t rounded[kTiles][4];
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float (&pair)[4] = weight[tile][2 * step + i / 2];
          rounded[tile][i] = pack<kType>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
        }
      }
#pragma unroll
      for (int pair = 0; pair < kSize / 16; ++pair) {
        std::uint32_t value[4];
        ldmatrix_transposed(value, values + step * 16 * kPitch<kSize> + pair * 2 * kChunk);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          mma<kType>(sums[tile][2 * pair], rounded[tile], value[0], value[1]);
          mma<kType>(sums[tile][2 * pair + 1], rounded[tile], value[2], value[3]);
        }
      }
    }
  }
};

template <int kSize>
struct Long {
  static constexpr int kTiles = kSize == 128 ? 1 : 2;  // of a warp: as many as registers hold
  static constexpr int kQueries = kWarps * kTiles * 16;
  static constexpr int kKeys = 64;
  using Stages = Pipeline<2 * kTileBytes<kKeys, kSize>>;
};

// A block has kQueries queries of one head and sequence; tiles of keys and values come in while the last one is worked
// on.
template <Type kType, int kSize>
__global__ void __launch_bounds__(kThreads, 2) attend_long(const BottleneckAttentionArgs args) {
  using Shape = Long<kSize>;
  const int thread = thread_index();
  const int lane = thread % kLanes;
  const int own = args.latent_queries ? 0 : args.bottlenecks;
  const int tiles = (own + args.longest + Shape::kQueries - 1) / Shape::kQueries;
  const int column = block_index() / tiles % args.heads * kSize;
  const int sequence = block_index() / tiles / args.heads;
  const Sequence rows(args, sequence, own);
  const Sequence keys(args, sequence, args.bottlenecks);
  const int block_first = block_index() % tiles * Shape::kQueries;
  if (block_first >= rows.tokens) return;
  const int first = block_first + thread / kLanes * Shape::kTiles * 16;

  typename Shape::Stages stages(shared_memory());
  const auto load = [&](int part, unsigned char* stage) {
    load_keys<Shape::kKeys, kSize, kThreads>(args, keys, part * Shape::kKeys, column, stage, thread);
  };
  stages.start(load);
  Queries<kType, kSize, Shape::kTiles, Shape::kKeys> queries;
  queries.load(args, rows, first, column, lane);
  stages.run((keys.tokens + Shape::kKeys - 1) / Shape::kKeys, load, [&](int part, const unsigned char* stage) {
    if (first < rows.tokens) queries.fold(stage, keys.tokens - part * Shape::kKeys, args.scale, lane);
  });
  queries.store(args.out, rows, first, column, lane);
}

constexpr int kShort = 32;  // tokens

template <int kSize>
constexpr int kWarpBytes = 2 * kTileBytes<kShort, kSize>;
static_assert(kWarps * kWarpBytes<128> <= kSharedLimit && Long<128>::Stages::kBytes <= kSharedLimit);

// A warp has one head of one sequence, whose tokens are one tile: the scene model's windows. Warps know nothing of each
// other.
template <Type kType, int kSize>
__global__ void __launch_bounds__(kThreads) attend_short(const BottleneckAttentionArgs args) {
  const int warp = thread_index() / kLanes;
  const int lane = thread_index() % kLanes;
  const std::int64_t task = static_cast<std::int64_t>(block_index()) * kWarps + warp;
  if (task >= static_cast<std::int64_t>(args.batch) * args.heads) return;
  const int column = static_cast<int>(task % args.heads) * kSize;
  const int sequence = static_cast<int>(task / args.heads);
  const Sequence rows(args, sequence, args.latent_queries ? 0 : args.bottlenecks);
  const Sequence keys(args, sequence, args.bottlenecks);
  unsigned char* tile = shared_memory() + warp * kWarpBytes<kSize>;
  load_keys<kShort, kSize, kLanes>(args, keys, 0, column, tile, lane);
  commit_copies();
  Queries<kType, kSize, 1, kShort> queries;
  queries.load(args, rows, 0, column, lane);
  wait_copies<0>();
  sync_warp();
#pragma unroll 1
  for (int first = 0;;) {
    queries.fold(tile, keys.tokens, args.scale, lane);
    queries.store(args.out, rows, first, column, lane);
    first += 16;
    if (first >= rows.tokens) return;
    queries.load(args, rows, first, column, lane);
  }
}

template <Type kType, int kSize>
const char* run(const BottleneckAttentionArgs& args, Stream stream) {
  if (args.bottlenecks + args.longest <= kShort) {
    const std::int64_t tasks = static_cast<std::int64_t>(args.batch) * args.heads;
    return launch(attend_short<kType, kSize>, (tasks + kWarps - 1) / kWarps, kThreads, kWarps * kWarpBytes<kSize>,
                  stream, args);
  }
  using Shape = Long<kSize>;
  const int queries = (args.latent_queries ? 0 : args.bottlenecks) + args.longest;
  const std::int64_t tiles = (queries + Shape::kQueries - 1) / Shape::kQueries;
  return launch(attend_long<kType, kSize>, tiles * args.batch * args.heads, kThreads, Shape::Stages::kBytes, stream,
                args);
}

template <Type kType>
const char* run(const BottleneckAttentionArgs& args, int head_size, Stream stream) {
  switch (head_size) {
    case 32: return run<kType, 32>(args, stream);
    case 64: return run<kType, 64>(args, stream);
    case 128: return run<kType, 128>(args, stream);
    default: return "bottleneck_attention: expected a head size of 32, 64 or 128";
  }
}

}  // namespace

const char* bottleneck_attention(const BottleneckAttentionArgs& args, Type type, int head_size, Stream stream) {
  return type == Type::float16 ? run<Type::float16>(args, head_size, stream)
                               : run<Type::bfloat16>(args, head_size, stream);
}

}  // namespace megaseg::cuda
