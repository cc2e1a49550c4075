#include "core/pairs/candidates.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace megaseg {
namespace {

using cpu::order_of;

constexpr std::int64_t kBins = 16384;  // 64 KiB a thread
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr std::size_t kMargin = 10;  // a tenth of the sample on either side

float float_at(std::int64_t order) {
  const auto magnitude = static_cast<std::uint32_t>(order < 0 ? -order : order);
  const std::uint32_t bits = magnitude | (order < 0 ? std::uint32_t{1} << 31 : 0);
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

int shift_of(float low, float high) {
  int shift = 0;
  while ((std::int64_t{order_of(high)} - order_of(low)) >> shift >= kBins) ++shift;
  return shift;
}

}  // namespace

Candidates::Candidates(std::int64_t count, std::int64_t total, int threads)
    : count_(count),
      total_(total),
      low_(-kLargest),
      high_(count == total ? -kLargest : kLargest),  // every score is one
      counts_(static_cast<std::size_t>(threads)) {
  if (low_ == high_) return;
  bins_.resize(counts_.size() * kBins);
  begin(low_, high_);
}

void Candidates::begin(float low, float high) {
  std::fill(bins_.begin(), bins_.end(), 0);
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    counts_[i] = {low, high, shift_of(low, high), 0, bins_.data() + i * kBins};
  }
}

void Candidates::expect(std::vector<float> sample) {
  if (low_ == high_) return;
  const auto size = static_cast<std::int64_t>(sample.size());
  const auto place = static_cast<std::int64_t>(static_cast<double>(total_ - count_) / static_cast<double>(total_) *
                                               static_cast<double>(size));  // in ascending order
  const auto at = [&](std::int64_t i) {
    const auto nth = sample.begin() + i;
    std::nth_element(sample.begin(), nth, sample.end());
    return *nth;
  };
  const std::int64_t margin = size / kMargin + 1;
  begin(place < margin ? -kLargest : at(place - margin), place + margin >= size ? kLargest : at(place + margin));
}

cpu::ScoreCounts* Candidates::counts(int thread) {
  return low_ == high_ ? nullptr : &counts_[static_cast<std::size_t>(thread)];
}

void Candidates::counted() {
  if (low_ == high_) return;
  const cpu::ScoreCounts& pass = counts_.front();
  const std::int64_t first = order_of(pass.low);
  std::int64_t above = 0;
  for (const cpu::ScoreCounts& counts : counts_) above += counts.above;
  if (above >= count_) {
    low_ = float_at(std::int64_t{order_of(pass.high)} + 1);
  } else {
    std::int64_t bin = kBins;
    while (above < count_ && --bin >= 0) {
      for (const cpu::ScoreCounts& counts : counts_) above += counts.bins[bin];
    }
    const float end = bin < 0 ? float_at(first - 1) : float_at(first + ((bin + 1) << pass.shift) - 1);
    if (bin >= 0) low_ = float_at(first + (bin << pass.shift));
    high_ = std::min(end, pass.high);
  }
  begin(low_, high_);
}

}  // namespace megaseg
