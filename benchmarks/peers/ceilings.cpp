// The machine's arithmetic ceilings: independent multiply-add chains in registers, one thread per core, GFLOP/s.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <numeric>
#include <thread>
#include <vector>

constexpr int kChains = 12;  // latency 4 x two units, and some to spare; all fit the registers
constexpr long kRounds = 4'000'000;

template <class Vector, class Step>
void chains(Vector a, Step step) {
  Vector b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a, k = a, l = a;  // an array would be spilled
  for (long round = 0; round < kRounds; ++round) {
    a = step(a), b = step(b), c = step(c), d = step(d), e = step(e), f = step(f);
    g = step(g), h = step(h), i = step(i), j = step(j), k = step(k), l = step(l);
    asm volatile("" : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f));  // keeps each step
    asm volatile("" : "+v"(g), "+v"(h), "+v"(i), "+v"(j), "+v"(k), "+v"(l));
  }
}

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);  // what others take of the core does not count
  return now.tv_sec + now.tv_nsec * 1e-9;
}

template <class Work>
void report(const char* name, int threads, double flop, Work work) {
  std::vector<double> rates(threads);
  std::vector<std::thread> pool;
  for (double& rate : rates)
    pool.emplace_back([&] {
      for (int repeat = 0; repeat < 10; ++repeat) {
        const double start = cpu_seconds();
        work();
        rate = std::max(rate, kRounds * flop / (cpu_seconds() - start) / 1e9);
      }
    });
  for (auto& thread : pool) thread.join();
  std::printf("%s %.1f\n", name, std::accumulate(rates.begin(), rates.end(), 0.0));
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
    chains(_mm256_setzero_ps(), [&](__m256 sum) { return _mm256_fmadd_ps(a, a, sum); });
  });
#ifdef __AVX512F__
  report("float32", threads, kChains * 32, [] {
    const __m512 a = _mm512_set1_ps(1e-9f);
    chains(_mm512_setzero_ps(), [&](__m512 sum) { return _mm512_fmadd_ps(a, a, sum); });
  });
#endif
#ifdef __AVX512BF16__
  report("bfloat16", threads, kChains * 64, [] {
    const __m512bh a = (__m512bh)_mm512_set1_epi16(0x3000);
    chains(_mm512_setzero_ps(), [&](__m512 sum) { return _mm512_dpbf16_ps(sum, a, a); });
  });
#endif
#ifdef __AVX512VNNI__
  report("int8", threads, kChains * 128, [] {
    const __m512i a = _mm512_set1_epi8(1);
    chains(_mm512_setzero_si512(), [&](__m512i sum) { return _mm512_dpbusd_epi32(sum, a, a); });
  });
#endif
#ifdef __AMX_TILE__
  if (syscall(SYS_arch_prctl, 0x1023, 18) != 0) return 0;  // the kernel's leave to use tile data
  report("bfloat16-amx", threads, 4 * 16384 / 16.0, TILE_WORK(_tile_dpbf16ps));
  report("int8-amx", threads, 4 * 32768 / 16.0, TILE_WORK(_tile_dpbusd));
#endif
}
