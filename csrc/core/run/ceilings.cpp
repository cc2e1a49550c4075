#include "core/run/ceilings.h"

#include <time.h>

#include <algorithm>
#include <cstring>

#include "core/memory/buffer.h"

namespace megaseg {
namespace {

constexpr int kRepeats = 16;  // of which the fastest counts
constexpr int kTimes = 1024;
constexpr std::size_t kSizes[] = {16UL << 10, 256UL << 10, 4UL << 20, 32UL << 20};
constexpr std::size_t kLeast = 32UL << 20;  // bytes to go through in all

double thread_seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The sum of what threads do a second; `work(thread)` says how much it did.
template <typename Work>
double fastest(ThreadPool& pool, const Work& work) {
  std::vector<double> rates(static_cast<std::size_t>(pool.size()));
  double best = 0;
  for (int i = 0; i < kRepeats; ++i) {
    pool.run(pool.size(), [&](int task, int) {
      const double begin = thread_seconds();
      const double done = work(task);
      rates[static_cast<std::size_t>(task)] = done / (thread_seconds() - begin);
    });
    double sum = 0;
    for (const double rate : rates) sum += rate;
    best = std::max(best, sum);
  }
  return best;
}

}  // namespace

Ceilings measure_ceilings(Ops& ops) {
  ThreadPool& pool = ops.thread_pool();
  const cpu::KernelTable& kernels = ops.kernels();
  const std::size_t most = std::end(kSizes)[-1] / sizeof(float);
  const Buffer buffer(most * static_cast<std::size_t>(pool.size()));
  const auto area = [&](int thread) { return buffer.data() + most * static_cast<std::size_t>(thread); };
  std::fill_n(buffer.data(), buffer.size(), 0.0F);  // pages that nobody wrote to may all be one
  Ceilings found;
  for (int i = 0; i < cpu::kTypes; ++i) {
    const auto type = static_cast<cpu::Type>(i);
    if (!kernels.types[i]) continue;
    found.products.emplace_back(type, fastest(pool, [&](int thread) {
                                  return kernels.product_ceiling(type, kTimes, area(thread),
                                                                 area(thread) + cpu::kCeilingFloats);
                                }));
  }
  for (const std::size_t bytes : kSizes) {
    const std::size_t times = std::max<std::size_t>(1, kLeast / bytes);
    const auto done = static_cast<double>(times * bytes);
    const double read = fastest(pool, [&](int thread) {
      float sum = 0;
      for (std::size_t i = 0; i < times; ++i) sum += kernels.read_ceiling(area(thread), bytes / 4);
      return done + static_cast<double>(sum);  // zero, which no compiler knows
    });
    const double copied = fastest(pool, [&](int thread) {
      for (std::size_t i = 0; i < times; ++i) std::memcpy(area(thread) + bytes / 8, area(thread), bytes / 2);
      return done / 2;
    });
    found.memory.push_back({bytes, read, copied});
  }
  return found;
}

}  // namespace megaseg
