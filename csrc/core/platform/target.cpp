#include "core/platform/target.h"

#ifdef MEGASEG_X86
#include <cpuid.h>
#endif
#if defined(MEGASEG_X86) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(MEGASEG_ARM64) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(MEGASEG_ARM64) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include <cstdlib>

#include "core/error.h"
#include "core/platform/x86.h"

namespace megaseg {
namespace {

using cpu::KernelTable;

#ifdef MEGASEG_X86
// AMX by CPUID leaf 7, and the kernel's permission for the process to use the tile registers: 8 KiB that a context
// switch saves only for those who asked (Linux 5.16).
bool amx_granted() {
#if defined(MEGASEG_EMULATE_AMX)
  return true;
#elif !defined(__linux__)
  return false;
#else
  constexpr unsigned kBf16 = 1U << 22;
  constexpr unsigned kTile = 1U << 24;
  constexpr unsigned kInt8 = 1U << 25;
  constexpr unsigned kAll = kBf16 | kTile | kInt8;
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & kAll) == kAll &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#endif
}
#endif

#ifdef MEGASEG_ARM64
// Extensions of the instruction set that the OS reports: where it cannot be asked, none.
struct Extensions {
  bool dotprod = false;
  bool i8mm = false;
  bool bf16 = false;
};

#if defined(__APPLE__)
bool reported(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

Extensions extensions() {
#if defined(__linux__)
  constexpr unsigned long kDotProd = 1UL << 20;  // HWCAP_ASIMDDP
  constexpr unsigned long kI8mm = 1UL << 13;     // HWCAP2_I8MM
  constexpr unsigned long kBf16 = 1UL << 14;     // HWCAP2_BF16
#if defined(HWCAP2_BF16)
  static_assert(kDotProd == HWCAP_ASIMDDP && kI8mm == HWCAP2_I8MM && kBf16 == HWCAP2_BF16);
#endif
  const unsigned long second = getauxval(AT_HWCAP2);
  return {(getauxval(AT_HWCAP) & kDotProd) != 0, (second & kI8mm) != 0, (second & kBf16) != 0};
#elif defined(__APPLE__)
  return {reported("hw.optional.arm.FEAT_DotProd"), reported("hw.optional.arm.FEAT_I8MM"),
          reported("hw.optional.arm.FEAT_BF16")};
#else
  return {};
#endif
}
#endif

// Slowest first; each needs what the one before it needs.
std::vector<const KernelTable*> detect() {
  std::vector<const KernelTable*> tables{&cpu::portable::table};
#ifdef MEGASEG_X86
  const X86 has = x86_features();
  if (has.avx2) tables.push_back(&cpu::avx2::table);
  if (has.avx512) tables.push_back(&cpu::avx512::table);
  if (has.vnni) tables.push_back(&cpu::avx512_vnni::table);
  if (has.bf16) tables.push_back(&cpu::avx512_bf16::table);
  if (has.bf16 && amx_granted()) tables.push_back(&cpu::amx::table);
#elif defined(MEGASEG_ARM64)
  const Extensions have = extensions();
  tables.push_back(&cpu::neon::table);
  if (!have.dotprod) return tables;
  tables.push_back(&cpu::neon_dotprod::table);
  if (!have.i8mm) return tables;
  tables.push_back(&cpu::neon_i8mm::table);
  if (have.bf16) tables.push_back(&cpu::neon_bf16::table);
#endif
  return tables;
}

const std::vector<const KernelTable*>& supported() {
  static const std::vector<const KernelTable*> tables = detect();
  return tables;
}

const KernelTable& find(std::string_view name, std::string_view asked_by) {
  std::string listed;
  for (const KernelTable* table : supported()) {
    if (name == table->name) return *table;
    listed += (listed.empty() ? "" : ", ") + std::string(table->name);
  }
  throw Unsupported(std::string(asked_by) + "=" + std::string(name) + ": this machine and build offer " + listed);
}

// Intel's vdpbf16ps is half as fast as float32's multiply-adds: without tiles, the target before it is faster.
const KernelTable& fastest() {
  const auto& tables = supported();
#ifdef MEGASEG_X86
  if (tables.back() == &cpu::avx512_bf16::table && x86_features().intel) return *tables[tables.size() - 2];
#endif
  return *tables.back();
}

const KernelTable& resolve() {
  const char* forced = std::getenv("MEGASEG_ISA");
  return forced && *forced ? find(forced, "MEGASEG_ISA") : fastest();
}

}  // namespace

std::vector<std::string> available_targets() {
  std::vector<std::string> names;
  for (const KernelTable* table : supported()) names.emplace_back(table->name);
  return names;
}

const char* name_of(cpu::Type type) {
  constexpr const char* kNames[cpu::kStorageTypes] = {"float32", "bfloat16", "int8", "int16", "int32"};
  return kNames[static_cast<int>(type)];
}

std::vector<std::string> product_types(const KernelTable& kernels) {
  std::vector<std::string> names;
  for (int type = 0; type < cpu::kTypes; ++type) {
    if (kernels.types[type]) names.emplace_back(name_of(static_cast<cpu::Type>(type)));
  }
  return names;
}

std::vector<std::string> compute_types(const KernelTable& kernels) {
  std::vector<std::string> names;
  for (const cpu::Type type : {cpu::Type::float32, cpu::Type::bfloat16, cpu::Type::int8}) {
    if (kernels.types[static_cast<int>(type)]) names.emplace_back(name_of(type));
  }
  names.emplace_back("int8_float32");
  if (kernels.types[static_cast<int>(cpu::Type::bfloat16)]) names.emplace_back("int8_bfloat16");
  return names;
}

const KernelTable& kernels(std::string_view target) {
  if (!target.empty()) return find(target, "target");
  static const KernelTable& resolved = resolve();
  return resolved;
}

}  // namespace megaseg
