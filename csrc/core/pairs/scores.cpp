#include "core/pairs/scores.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace megaseg {
namespace {

using cpu::kScoreBlock;

constexpr int kScratchRows = std::max(Scores::kRows, 2 * Scores::kSample);
constexpr std::size_t kLine = 16;  // floats: blocks and threads' scratch areas share no cache line

int ceil_div(int a, int b) { return (a + b - 1) / b; }
std::size_t count_of(int n) { return static_cast<std::size_t>(n); }
std::size_t whole_lines(std::size_t floats) { return (floats + kLine - 1) / kLine * kLine; }

cpu::ConstRows shifted(cpu::ConstRows rows, int begin, int step = 1) {
  rows.data = static_cast<const std::byte*>(rows.data) + begin * rows.stride * bytes_of(rows.type);
  rows.stride *= step;
  return rows;
}

}  // namespace

Scores::Scores(const cpu::KernelTable& kernels, const Crew& crew, const WindowPairsArgs& args)
    : kernels_(kernels),
      crew_(crew),
      args_(args),
      rows_(args.u_rows - args.window + 1),
      columns_(args.v_rows - args.window + 1),
      blocks_(ceil_div(columns_, kScoreBlock)),
      sample_step_(ceil_div(columns_, kSample)),
      packed_size_(kernels.linear_packed_size(args.u.type, kScoreBlock, args.size)),
      scratch_size_(whole_lines(count_of(kScratchRows * kScoreBlock)) +
                    whole_lines(count_of(kRows) * count_of(args.size))),
      sums_(whole_lines(count_of(rows_) * count_of(args.size))),
      packed_(count_of(blocks_ + 1) * packed_size_ / sizeof(float)),
      scratch_(count_of(crew.size()) * scratch_size_) {
  std::atomic<bool> finite[2] = {true, true};
  const int tasks = ceil_div(rows_, kRows);
  crew_.run(tasks + blocks_ + 1, [&](int task, int thread) {
    if (task > blocks_) {
      const int begin = (task - blocks_ - 1) * kRows;
      const cpu::WindowSumsArgs sums{args.u, {sums_.data(), args.size, args.u.type, nullptr}, args.window, args.size};
      if (!kernels_.window_sums(sums, begin, std::min(rows_, begin + kRows))) finite[0] = false;
    } else {
      const bool sample = task == blocks_;
      const int begin = sample ? 0 : task * kScoreBlock;
      const int step = sample ? sample_step_ : 1;
      if (!pack(task, begin, step, std::min(kScoreBlock, ceil_div(columns_ - begin, step)), thread)) finite[1] = false;
    }
  });
  not_finite_ = !finite[0] ? "us" : !finite[1] ? "vs" : "";
}

std::uint64_t Scores::all_of(int block) const {
  const int count = std::min(kScoreBlock, columns_ - block * kScoreBlock);
  return ~std::uint64_t{0} >> (kScoreBlock - count);
}

float* Scores::scratch(int thread) const { return scratch_.data() + count_of(thread) * scratch_size_; }

// Columns begin, begin + step, ...
bool Scores::pack(int block, int begin, int step, int count, int thread) {
  float* const sums = scratch(thread);  // before any score stands there
  bool finite = true;
  for (int i = 0; i < count; ++i) {
    float* const to = sums + i * static_cast<std::ptrdiff_t>(args_.size);
    finite &=
        kernels_.window_sums({shifted(args_.v, begin + i * step), {to, args_.size}, args_.window, args_.size}, 0, 1);
  }
  const auto size = static_cast<std::ptrdiff_t>(args_.size);
  std::fill(sums + count * size, sums + kScoreBlock * size, 0.0F);
  kernels_.linear_pack(args_.u.type, sums, nullptr, kScoreBlock, args_.size, packed(block));
  return finite;
}

std::byte* Scores::packed(int block) const {
  return reinterpret_cast<std::byte*>(packed_.data()) + count_of(block) * packed_size_;
}

const float* Scores::product(cpu::ConstRows rows, int count, int block, int thread) const {
  float* const out = scratch(thread);
  const cpu::LinearArgs args{rows,       packed(block),        {}, {out, kScoreBlock}, kScoreBlock,
                             args_.size, cpu::Activation::none};
  kernels_.linear(args, 0, count, 0, ceil_div(kScoreBlock, kernels_.linear_panel(args_.u.type)));
  return out;
}

cpu::ConstRows Scores::row(int begin, int step) const {
  return shifted({sums_.data(), args_.size, args_.u.type, nullptr}, begin, step);
}

const float* Scores::block(int block, int begin, int count, int thread) const {
  return product(row(begin), count, block, thread);
}

const float* Scores::block(int block, const int* rows, int count, int thread) const {
  const std::size_t bytes = count_of(args_.size) * count_of(bytes_of(args_.u.type));
  auto* const gathered = reinterpret_cast<std::byte*>(scratch(thread) + kScratchRows * kScoreBlock);
  for (int i = 0; i < count; ++i) std::memcpy(gathered + count_of(i) * bytes, row(rows[i]).data, bytes);
  const cpu::ConstRows in{gathered, args_.size, args_.u.type, nullptr};
  return product(in, count, block, thread);
}

std::vector<float> Scores::sample() const {
  const int step = ceil_div(rows_, 2 * kSample);
  const int count = ceil_div(rows_, step);
  const int columns = ceil_div(columns_, sample_step_);
  const float* const scores = product(row(0, step), count, blocks_, 0);
  std::vector<float> sample;
  sample.reserve(count_of(count * columns));
  for (int i = 0; i < count; ++i)
    sample.insert(sample.end(), scores + i * kScoreBlock, scores + i * kScoreBlock + columns);
  return sample;
}

}  // namespace megaseg
