// Which CPU target runs: resolved once from CPUID, the OS and MEGASEG_ISA.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cpu/kernels.h"

namespace megaseg {

// Targets that this machine runs, slowest first: "portable", "avx2", "avx512".
std::vector<std::string> available_targets();

// The kernels of a target; an empty name means MEGASEG_ISA or else the fastest. Throws Unsupported.
const cpu::KernelTable& kernels(std::string_view target = {});

}  // namespace megaseg
