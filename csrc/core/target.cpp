#include "core/target.h"

#include <cstdlib>

#include "core/error.h"

namespace megaseg {
namespace {

using cpu::KernelTable;

// __builtin_cpu_supports asks CPUID and, through XGETBV, whether the OS saves the wide registers.
std::vector<const KernelTable*> supported() {
  std::vector<const KernelTable*> tables{&cpu::portable::table};
#ifdef MEGASEG_HAS_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables.push_back(&cpu::avx2::table);
#endif
#ifdef MEGASEG_HAS_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    tables.push_back(&cpu::avx512::table);
  }
#endif
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

const KernelTable& resolve() {
  const char* forced = std::getenv("MEGASEG_ISA");
  return forced && *forced ? find(forced, "MEGASEG_ISA") : *supported().back();
}

}  // namespace

std::vector<std::string> available_targets() {
  std::vector<std::string> names;
  for (const KernelTable* table : supported()) names.emplace_back(table->name);
  return names;
}

const KernelTable& kernels(std::string_view target) {
  if (!target.empty()) return find(target, "target");
  static const KernelTable& resolved = resolve();
  return resolved;
}

}  // namespace megaseg
