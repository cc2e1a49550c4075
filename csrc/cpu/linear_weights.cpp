// linear with weights in ten bits, for few rows: csrc/cpu/linear_weights.h.
#include "cpu/linear_weights.h"

namespace {

constexpr int kRowBlock = 16 * kTileRows;

// Some rows' share of a block of k.
struct Step {
  const std::int16_t* in;
  ptrdiff_t in_stride;
  const std::int16_t* weight;  // expanded
  int k;
  const Grid* grids;  // of the first row, for this block
  ptrdiff_t grids_stride;
  float* sums;         // [rows, kPanel]
  const char* fetch;   // of the next block
  int lines;           // to fetch with every word
  const float* scale;  // of the columns, where this block is the last, or null
};

// a * b + c, rounded once where the target can: never as the compiler likes it in one height of a tile or another.
MEGASEG_INLINE Vec multiply_add(Vec a, Vec b, Vec c) {
#if defined(MEGASEG_AVX512)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(MEGASEG_AVX2)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

template <int Rows>
MEGASEG_INLINE void multiply(const std::int16_t* in, ptrdiff_t in_stride, const Step& step, int begin, int end,
                             IntVec (&acc)[Rows][kTileVecs]) {
  const char* fetch = step.fetch + static_cast<ptrdiff_t>(begin) / 2 * step.lines * kLine;
  const std::int16_t* weight = step.weight + static_cast<ptrdiff_t>(begin) * kPanel;
  MEGASEG_NO_UNROLL
  for (int p = begin; p < end; p += 2, weight += 2 * kPanel) {
    Halves column[kTileVecs];
    MEGASEG_UNROLL
    for (int j = 0; j < kTileVecs; ++j) column[j] = Int16::words(weight + j * kVecWeights);
    for (int line = 0; line < step.lines; ++line, fetch += kLine) __builtin_prefetch(fetch);
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Halves x = Int16::word(in + i * in_stride + (p - begin));
      MEGASEG_UNROLL
      for (int j = 0; j < kTileVecs; ++j) Int16::dot(acc[i][j], x, column[j]);
    }
  }
}

template <int Rows>
void tile(const Step& step, bool first) {
  IntVec acc[Rows][kTileVecs] = {};
  const int whole = step.k / 2 * 2;
  multiply<Rows>(step.in, step.in_stride, step, 0, whole, acc);
  if (whole < step.k) {  // the rest of the last word is zero, not what follows the row
    std::int16_t rest[Rows][2] = {};
    for (int i = 0; i < Rows; ++i) rest[i][0] = step.in[i * step.in_stride + whole];
    multiply<Rows>(rest[0], 2, step, whole, whole + 2, acc);
  }
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    const float grid = step.grids[i * step.grids_stride].step;
    MEGASEG_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      float* sum = step.sums + i * kPanel + j * kLanes;
      const Vec total = multiply_add(__builtin_convertvector(acc[i][j], Vec), splat(grid), first ? Vec{} : load(sum));
      store(sum, step.scale ? total * load(step.scale + j * kLanes) : total);
    }
  }
}

template <int Rows = kTileRows>
MEGASEG_INLINE void tile_of(int rows, const Step& step, bool first) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return tile_of<Rows - 1>(rows, step, first);
  }
  tile<Rows>(step, first);
}

// One panel for at most kRowBlock rows.
void block(const LinearArgs& args, Finish<Int16> finish, int row, int rows, int column) {
  // With few rows memory is the limit: every word of a tile fetches lines of the next block.
  constexpr int kLines = static_cast<int>(weight_panel_bytes(kWeightBlock) / kLine);
  constexpr int kWords = kWeightBlock / 2;
  alignas(kLine) std::int16_t expanded[kWeightBlock * kPanel];
  alignas(kLine) float sums[kRowBlock * kPanel];
  const Packed<Int16> packed(args);
  const char* panel = packed.panel(column);
  const ptrdiff_t grids = megaseg::cpu::grids_of(args.in.stride);
  const int tiles = (rows + kTileRows - 1) / kTileRows;  // of equal height, give or take one
  const int lines = (kLines + kWords * tiles - 1) / (kWords * tiles);
  for (int begin = 0; begin < args.k; begin += kWeightBlock) {
    const bool last = args.k - begin <= kWeightBlock;
    const int length = last ? args.k - begin : kWeightBlock;
    const char* next = panel + weight_panel_bytes(begin + kWeightBlock);
    expand_weights(panel + weight_panel_bytes(begin), length, expanded);
    for (int t = 0; t < tiles; ++t) {
      const int from = rows * t / tiles;
      const int count = rows * (t + 1) / tiles - from;
      const int fetched = t * kWords * lines;
      tile_of(count,
              {.in = row_of<std::int16_t>(args.in, row + from) + begin,
               .in_stride = args.in.stride,
               .weight = expanded,
               .k = length,
               .grids = grids_at(args.in, row + from) + begin / kGridSize,
               .grids_stride = grids,
               .sums = sums + from * kPanel,
               .fetch = next + fetched * kLine,
               .lines = fetched < kLines ? lines : 0,
               .scale = last ? packed.scale() + column : nullptr},
              begin == 0);
    }
  }
  const Sums done{sums, nullptr, 0, row, rows, column, at(args.out, row, column), nullptr};
  finish(args, Values<Int16>(args, done), done, 0, rows);
}

// Symmetric: kMostWeight steps to the largest magnitude of the row. NaN or infinity makes the scale NaN.
void pack_row(const Packed<Int16>& packed, const float* weight, int row, int k) {
  constexpr float kTooSmall = 1e-35F;    // to divide by
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: rounds to nearest
  float largest = 0;
  float poison = 0;
  for (int i = 0; i < k; ++i) {
    const float magnitude = weight[i] < 0 ? -weight[i] : weight[i];
    largest = magnitude > largest ? magnitude : largest;
    poison += weight[i] * 0.0F;
  }
  packed.scale()[row] = (largest < kTooSmall ? 0 : largest / kMostWeight) + poison;
  if (poison != 0 || largest < kTooSmall) return;
  const int column = row % kPanel;
  const float steps = kMostWeight / largest;
  char* panel = packed.panel(row - column);
  for (int i = 0; i < k; ++i) put_weight(panel, i, column, static_cast<int>(weight[i] * steps + kRound - kRound));
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

std::size_t linear_weights_size(int n, int k) { return static_cast<std::size_t>(Packed<Int16>(nullptr, n, k).size()); }

void linear_weights_pack(const float* weight, const float* bias, int n, int k, void* packed) {
  const Packed<Int16> to(packed, n, k);
  __builtin_memset(packed, 0, static_cast<std::size_t>(to.size()));
  for (int row = 0; row < n; ++row) pack_row(to, weight + static_cast<ptrdiff_t>(row) * k, row, k);
  if (bias) __builtin_memcpy(to.bias(), bias, static_cast<std::size_t>(n) * sizeof(float));
}

void linear_weights(const LinearArgs& args, int row_begin, int row_end, int panel_begin, int panel_end) {
  const Finish<Int16> finish = finish_of<Int16>(args, args.out.type);
  for (int panel = panel_begin; panel < panel_end; ++panel) {
    for (int row = row_begin; row < row_end; row += kRowBlock) {
      const int rows = row_end - row < kRowBlock ? row_end - row : kRowBlock;
      block(args, finish, row, rows, panel * kPanel);
    }
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
