// What the choice of scene pairs reads: sums over windows of rows, whose products are the scores; and of a block of
// scores the best column of each row, and how many scores lie where.
#include "cpu/ops.h"

namespace {

using megaseg::cpu::kScoreBlock;
using megaseg::cpu::ScoreBlockArgs;
using megaseg::cpu::ScoreCounts;
using megaseg::cpu::WindowSumsArgs;

constexpr int kVecs = kScoreBlock / kLanes;

// One row; `poison` becomes NaN where an element or the sum is not finite.
template <typename In, typename Out>
MEGASEG_INLINE void window_sum(const WindowSumsArgs& args, int row, Vec& poison) {
  Out* out = row_of<Out>(args.out, row);
  const auto add = [&](int i, const auto& read) {
    const In* in = row_of<In>(args.in, row) + i;
    Vec sum = read(in);
    for (int r = 1; r < args.window; ++r) sum += read(in += args.in.stride);
    poison += sum * 0.0F;
    return sum;
  };
  int i = 0;
  for (; i + kLanes <= args.size; i += kLanes) store(out + i, add(i, [](const In* in) { return load(in); }));
  if (const int left = args.size - i; left > 0) {
    store_partial(out + i, add(i, [left](const In* in) { return load_partial(in, left); }), left);
  }
}

MEGASEG_INLINE std::uint64_t bits_at(std::uint64_t bits, int vec) { return bits << vec * kLanes; }

// -infinity where a column is not free.
MEGASEG_INLINE Vec masked(Vec scores, std::uint64_t free, int vec) {
  IntVec lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = 1 << i;
  const IntVec bits = (lane & static_cast<std::int32_t>(free >> vec * kLanes & ((1U << kLanes) - 1))) != 0;
  return bits ? scores : splat(-__builtin_inff());
}

void count(ScoreCounts& counts, const Vec (&scores)[kVecs], std::uint64_t free) {
  std::uint64_t up_to_high = 0;
  std::uint64_t from_low = 0;
  MEGASEG_UNROLL
  for (int j = 0; j < kVecs; ++j) {
    up_to_high |= bits_at(at_least(splat(counts.high), scores[j]), j);
    from_low |= bits_at(at_least(scores[j], splat(counts.low)), j);
  }
  counts.above += __builtin_popcountll(~up_to_high & free);
  std::uint64_t inside = up_to_high & from_low & free;
  if (!inside) return;
  alignas(sizeof(Vec)) float all[kScoreBlock];
  for (int j = 0; j < kVecs; ++j) store(all + j * kLanes, scores[j]);
  const auto low = static_cast<std::uint32_t>(megaseg::cpu::order_of(counts.low));
  for (; inside; inside &= inside - 1) {
    const auto key = static_cast<std::uint32_t>(megaseg::cpu::order_of(all[__builtin_ctzll(inside)]));
    ++counts.bins[(key - low) >> counts.shift];
  }
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

bool window_sums(const WindowSumsArgs& args, int begin, int end) {
  Vec poison{};
  with_type(args.in.type, [&]<typename In>(In) {
    with_type(args.out.type, [&]<typename Out>(Out) {
      for (int r = begin; r < end; ++r) window_sum<In, Out>(args, r, poison);
    });
  });
  return sum(poison) == 0.0F;
}

bool score_block(const ScoreBlockArgs& args, int rows) {
  Vec poison{};
  for (int i = 0; i < rows; ++i) {
    Vec scores[kVecs];
    MEGASEG_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      scores[j] = load(args.scores + static_cast<ptrdiff_t>(i) * kScoreBlock + j * kLanes) + 0.0F;
      poison += scores[j] * 0.0F;
    }
    if (args.counts) count(*args.counts, scores, args.free);
    if (!args.best) continue;
    Vec top = splat(-__builtin_inff());
    MEGASEG_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      scores[j] = masked(scores[j], args.free, j);
      top = max(top, scores[j]);
    }
    const float best = maximum(top);
    std::uint64_t equal = 0;
    MEGASEG_UNROLL
    for (int j = 0; j < kVecs; ++j) equal |= bits_at(at_least(scores[j], splat(best)), j);
    equal &= args.free;
    args.best[i * args.best_stride] = {best, equal ? args.first + __builtin_ctzll(equal) : -1};
  }
  return sum(poison) == 0.0F;
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
