// Which CPU target runs: resolved once from CPUID or the OS, and MEGASEG_ISA.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cpu/kernels.h"

namespace megaseg {

// Targets that this machine and build run, slowest first: "portable", "avx2", "avx512", "avx512_vnni", "avx512_bf16",
// "amx"; on ARM "portable", "neon", "neon_dotprod", "neon_i8mm", "neon_bf16".
std::vector<std::string> available_targets();

// The kernels of a target; an empty name means MEGASEG_ISA or else the fastest. Throws Unsupported.
const cpu::KernelTable& kernels(std::string_view target = {});

// "float32", "bfloat16", "int8", "int16" or "int32".
const char* name_of(cpu::Type type);

// Names of the types that a target has products for.
std::vector<std::string> product_types(const cpu::KernelTable& kernels);

// What a model can be compiled for: float32, bfloat16, int8; int8_float32 and int8_bfloat16 (weights in ten bits, rows
// between products in the type of the name).
std::vector<std::string> compute_types(const cpu::KernelTable& kernels);

}  // namespace megaseg
