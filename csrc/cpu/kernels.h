// What one CPU target offers: a table of plain functions over raw pointers. All matrices are row-major.
#pragma once

#include <cstddef>
#include <cstdint>

namespace megaseg::cpu {

// out[r, :] = (in[r, :] - mean) / sqrt(var + eps) * gamma + beta for r in [begin, end); in may equal out.
struct LayerNormArgs {
  const float* in;     // [rows, size]
  const float* gamma;  // [size]
  const float* beta;   // [size]
  float* out;          // [rows, size]
  int size;
  float eps;
};

struct KernelTable {
  const char* name;
  int lanes;  // floats in one vector
  void (*layer_norm)(const LayerNormArgs& args, int begin, int end);
};

// One per target, defined by csrc/cpu/table.cpp.
namespace portable {
extern const KernelTable table;
}
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {
extern const KernelTable table;
}

}  // namespace megaseg::cpu
