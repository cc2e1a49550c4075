// E-step of the synchronisation (supplementary, Eq. 2): similarity, band and threshold while the shots are read once.
//
// A movie's sentences stay in the L2 cache; the shots stream from memory, through two stages of shared memory. At the
// synchronisation's sizes (some 60 sentences to thousands of shots) that takes as long as reading the shots does: the
// products are some 40 FLOP a byte.
#include "cuda/tile.cuh"

namespace megaseg::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kLanes;
constexpr int kTiles = 2;  // of 16 shots, a warp
constexpr int kShots = kWarps * kTiles * 16;
constexpr int kSentences = 64;
constexpr int kInner = 64;
constexpr int kStageBytes = kTileBytes<kShots, kInner> + kTileBytes<kSentences, kInner>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

static_assert(kThreads == kShots);  // a thread finds the band of a shot

struct Range {
  int begin;
  int end;  // exclusive; not above begin: nothing
};

using Stages = Pipeline<kStageBytes>;

struct Movie {
  std::int64_t shot_row;
  std::int64_t sentence_row;
  int shots;
  int sentences;
  std::int64_t reach;

  MEGASEG_DEVICE Movie(const BandedEstepArgs& args, int movie)
      : shot_row(args.shot_begin[movie]),
        sentence_row(args.sentence_begin[movie]),
        shots(args.shot_begin[movie + 1] - args.shot_begin[movie]),
        sentences(args.sentence_begin[movie + 1] - args.sentence_begin[movie]),
        reach(args.reach[movie]) {}

  // The sentences j with |shot * L_syn - j * L_sh| < reach, exactly; neither end falls from one shot to the next.
  MEGASEG_DEVICE Range band(int shot) const {
    const std::int64_t here = static_cast<std::int64_t>(shot) * sentences;
    const std::int64_t end = (here + reach - 1) / shots + 1;
    return {here < reach ? 0 : static_cast<int>((here - reach) / shots + 1),
            end < sentences ? static_cast<int>(end) : sentences};
  }
};

// Queues kInner columns from `inner` on of the block's shots and of kSentences sentences, zeros beyond the last of
// each.
MEGASEG_DEVICE void load_stage(const BandedEstepArgs& args, const Movie& movie, int top, int left, int inner,
                               unsigned char* stage, int thread) {
  const auto rows_of = [inner](const ConstRows& from, std::int64_t row, int count) {
    const std::uint16_t* first = static_cast<const std::uint16_t*>(from.data) + row * from.stride + inner;
    return [first, stride = from.stride, count](int i) { return i < count ? first + i * stride : nullptr; };
  };
  const int columns = args.size - inner < kInner ? args.size - inner : kInner;
  copy_rows<kShots, kInner, kThreads>(stage, thread, columns,
                                      rows_of(args.shots, movie.shot_row + top, movie.shots - top));
  copy_rows<kSentences, kInner, kThreads>(stage + kTileBytes<kShots, kInner>, thread, columns,
                                          rows_of(args.sentences, movie.sentence_row + left, movie.sentences - left));
}

using Similarity = float[kTiles][kSentences / 8][4];

// Adds the products of one stage; of the sentences, only the first `pairs` times 16.
template <Type kType>
MEGASEG_DEVICE void multiply(const unsigned char* shots, const unsigned char* sentences, int pairs, Similarity& sums) {
#pragma unroll
  for (int step = 0; step < kInner / 16; ++step) {
    std::uint32_t shot[kTiles][4];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      ldmatrix(shot[tile], shots + tile * 16 * kPitch<kInner> + step * 2 * kChunk);
    }
#pragma unroll
    for (int pair = 0; pair < kSentences / 16; ++pair) {
      if (pair >= pairs) break;
      std::uint32_t sentence[4];
      ldmatrix(sentence, sentences + pair * 16 * kPitch<kInner> + step * 2 * kChunk);
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        mma<kType>(sums[tile][2 * pair], shot[tile], sentence[0], sentence[1]);
        mma<kType>(sums[tile][2 * pair + 1], shot[tile], sentence[2], sentence[3]);
      }
    }
  }
}

// Bit j: sentence left + j is in the band.
MEGASEG_DEVICE std::uint64_t mask_of(const Range& band, int left) {
  const int begin = band.begin > left ? band.begin - left : 0;
  const int end = band.end - left < kSentences ? band.end - left : kSentences;
  if (begin >= end) return 0;
  return ~std::uint64_t{0} >> (kSentences - end) & ~std::uint64_t{0} << begin;
}

// Thresholds a warp's similarities; the four lanes of a row bring its bits together and each write two of its bytes.
MEGASEG_DEVICE void decide(const BandedEstepArgs& args, int index, const Movie& movie, int top, int left,
                           const Range* bands, const Similarity& sums) {
  const int lane = thread_index() % kLanes;
  const int width = (movie.sentences + 7) / 8;
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) {
    const int row = (thread_index() / kLanes * kTiles + i / 2) * 16 + i % 2 * 8 + lane / 4;
    std::uint64_t set = 0;
    std::uint64_t infinite = 0;
#pragma unroll
    for (int j = 0; j < kSentences / 4; ++j) {
      const float value = sums[i / 2][j / 2][i % 2 * 2 + j % 2];
      const std::uint64_t bit = std::uint64_t{1} << (j / 2 * 8 + j % 2);
      set |= value >= args.threshold ? bit : 0;
      infinite |= value > -kInfinity && value < kInfinity ? 0 : bit;
    }
    const std::uint64_t mask = mask_of(bands[row], left);
    if ((infinite << lane % 4 * 2 & mask) != 0) args.bad[index] = 1;
    set = set << lane % 4 * 2 & mask;
    set |= shuffle_xor(set, 1);
    set |= shuffle_xor(set, 2);
    if (top + row >= movie.shots) continue;
    std::uint8_t* to = args.bits + args.out_begin[index] + static_cast<std::int64_t>(top + row) * width;
    for (int byte = lane % 4; byte < 8; byte += 4) {
      if (left / 8 + byte < width) to[left / 8 + byte] = static_cast<std::uint8_t>(set >> byte * 8);
    }
  }
}

// A block has kShots shots of one movie and follows their band from its first sentence on.
template <Type kType>
__global__ void __launch_bounds__(kThreads, 2) decide_band(const BandedEstepArgs args) {
  const int blocks = (args.longest + kShots - 1) / kShots;
  const int index = block_index() / blocks;
  const int top = block_index() % blocks * kShots;
  const Movie movie(args, index);
  if (top >= movie.shots || movie.sentences == 0) return;
  const int thread = thread_index();
  const int lane = thread % kLanes;
  Stages stages(shared_memory());
  Range* bands = reinterpret_cast<Range*>(shared_memory() + Stages::kBytes);
  bands[thread] = top + thread < movie.shots ? movie.band(top + thread) : Range{0, 0};
  sync_threads();
  const int last = movie.shots - top < kShots ? movie.shots - top - 1 : kShots - 1;
  const int end = bands[last].end;
#pragma unroll 1
  for (int left = bands[0].begin / 8 * 8; left < end; left += kSentences) {
    const auto load = [&](int part, unsigned char* stage) {
      load_stage(args, movie, top, left, part * kInner, stage, thread);
    };
    Similarity sums = {};
    stages.start(load);
    stages.run((args.size + kInner - 1) / kInner, load, [&](int, const unsigned char* stage) {
      multiply<kType>(stage + thread / kLanes * kTiles * 16 * kPitch<kInner> + rows_first<kInner>(lane),
                      stage + kTileBytes<kShots, kInner> + chunks_first<kInner>(lane), (end - left + 15) / 16, sums);
    });
    decide(args, index, movie, top, left, bands, sums);
  }
}

}  // namespace

const char* banded_estep(const BandedEstepArgs& args, Type type, Stream stream) {
  if (const char* error = clear(args.bits, static_cast<std::size_t>(args.total), stream)) return error;
  const std::size_t flags = sizeof(std::int32_t) * static_cast<std::size_t>(args.batch);
  if (const char* error = clear(args.bad, flags, stream)) return error;
  const std::int64_t blocks = static_cast<std::int64_t>(args.batch) * ((args.longest + kShots - 1) / kShots);
  constexpr int kSharedBytes = Stages::kBytes + kShots * static_cast<int>(sizeof(Range));
  static_assert(kSharedBytes <= kSharedLimit);
  const auto kernel = type == Type::float16 ? decide_band<Type::float16> : decide_band<Type::bfloat16>;
  return launch(kernel, blocks, kThreads, kSharedBytes, stream, args);
}

}  // namespace megaseg::cuda
