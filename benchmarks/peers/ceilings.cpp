// The machine's arithmetic ceilings: independent multiply-add chains in registers, one thread per core, GFLOP/s.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

constexpr int kChains = 12;  // latency 4 x two units, and some to spare; all fit the registers
constexpr long kRounds = 4'000'000;

template <class Vector, class Step>
void chains(Vector zero, Step step) {
  Vector sums[kChains];
  for (auto& sum : sums) sum = zero;
  for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
    for (auto& sum : sums) {
      step(sum);
      asm volatile("" : "+v"(sum));  // keeps each step
    }
  }
}

template <class Work>
void report(const char* name, int threads, double flop, Work work) {
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    std::vector<std::thread> pool;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < threads; ++i) pool.emplace_back(work);
    for (auto& thread : pool) thread.join();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, threads * kRounds * flop / seconds.count() / 1e9);
  }
  std::printf("%s %.1f\n", name, best);
}

#ifdef __AMX_TILE__
struct alignas(64) TileConfig {
  unsigned char palette = 1, start_row = 0, reserved[14] = {};
  unsigned short bytes[16] = {64, 64, 64, 64, 64, 64};
  unsigned char rows[16] = {16, 16, 16, 16, 16, 16};
};
#define TILE_WORK(instruction)                            \
  [] {                                                    \
    const TileConfig config;                              \
    _tile_loadconfig(&config);                            \
    for (long round = 0; round < kRounds / 16; ++round) { \
      instruction(0, 4, 5);                               \
      instruction(1, 4, 5);                               \
      instruction(2, 4, 5);                               \
      instruction(3, 4, 5);                               \
    }                                                     \
    _tile_release();                                      \
  }
#endif

int main(int, char** arguments) {
  const int threads = std::atoi(arguments[1]);
  report("float32-avx2", threads, kChains * 16, [] {
    const __m256 a = _mm256_set1_ps(1e-9f);
    chains(_mm256_setzero_ps(), [&](__m256& sum) { sum = _mm256_fmadd_ps(a, a, sum); });
  });
#ifdef __AVX512F__
  report("float32", threads, kChains * 32, [] {
    const __m512 a = _mm512_set1_ps(1e-9f);
    chains(_mm512_setzero_ps(), [&](__m512& sum) { sum = _mm512_fmadd_ps(a, a, sum); });
  });
#endif
#ifdef __AVX512BF16__
  report("bfloat16", threads, kChains * 64, [] {
    const __m512bh a = (__m512bh)_mm512_set1_epi16(0x3000);
    chains(_mm512_setzero_ps(), [&](__m512& sum) { sum = _mm512_dpbf16_ps(sum, a, a); });
  });
#endif
#ifdef __AVX512VNNI__
  report("int8", threads, kChains * 128, [] {
    const __m512i a = _mm512_set1_epi8(1);
    chains(_mm512_setzero_si512(), [&](__m512i& sum) { sum = _mm512_dpbusd_epi32(sum, a, a); });
  });
#endif
#ifdef __AMX_TILE__
  if (syscall(SYS_arch_prctl, 0x1023, 18) != 0) return 0;  // the kernel's leave to use tile data
  report("bfloat16-amx", threads, 4 * 16384 / 16.0, TILE_WORK(_tile_dpbf16ps));
  report("int8-amx", threads, 4 * 32768 / 16.0, TILE_WORK(_tile_dpbusd));
#endif
}
