// What an x86 CPU has, of that whose registers the OS saves.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>

namespace megaseg {

struct X86 {
  bool intel, sse42, avx2, avx512, vnni, bf16;
};

// CPUID is asked here, since __builtin_cpu_supports is false for everything where compiler-rt has only a stub of it
// (zig).
inline X86 x86_features() {
  constexpr std::uint32_t kFma = 1U << 12, kSse42 = 1U << 20, kXgetbv = 1U << 27;     // leaf 1, ecx
  constexpr std::uint32_t kAvx2 = 1U << 5, kAvx512 = 1U << 16 | 1U << 17 | 3U << 30;  // leaf 7, ebx: F, DQ, BW, VL
  constexpr std::uint32_t kVnni = 1U << 11;                                           // leaf 7, ecx
  constexpr std::uint32_t kBf16 = 1U << 5;                                            // leaf 7.1, eax
  constexpr std::uint32_t kYmm = 0x06, kZmm = 0xe6;                                   // XCR0
  constexpr std::uint32_t kIntel = 0x756e6547;                                        // leaf 0, ebx: "Genu"
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0, saved = 0;
  if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx)) return {};
  const bool intel = ebx == kIntel;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return {};
  const std::uint32_t one = ecx;
  if (one & kXgetbv) __asm__("xgetbv" : "=a"(saved), "=d"(edx) : "c"(0));
  X86 found{.intel = intel, .sse42 = (one & kSse42) != 0, .avx2 = false, .avx512 = false, .vnni = false, .bf16 = false};
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return found;
  const std::uint32_t vnni = ecx & kVnni;
  found.avx2 = (ebx & kAvx2) && (one & kFma) && (saved & kYmm) == kYmm;
  found.avx512 = found.avx2 && (ebx & kAvx512) == kAvx512 && (saved & kZmm) == kZmm;
  found.vnni = found.avx512 && vnni;
  found.bf16 = found.vnni && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & kBf16);
  return found;
}

}  // namespace megaseg
#endif
