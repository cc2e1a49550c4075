// product TARGET TYPE TIMES: one layer's product, 21 rows [., 768] by a weight [768, 768]; of target "scalar" three
// plain loops, which the compiler may not vectorise. tests/arm/count.sh counts its instructions.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/platform/target.h"

namespace {

using megaseg::cpu::Grid;
using megaseg::cpu::Type;

constexpr int kRows = 21, kN = 768, kK = 768;

// out [kRows, kN] = x [kRows, kK] w [kN, kK]^T.
template <typename Sum, typename X, typename W>
[[gnu::noinline, gnu::optimize("no-tree-vectorize")]] void scalar(const X* x, const W* w, float* out) {
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kN; ++j) {
      Sum sum = 0;
      for (int p = 0; p < kK; ++p) sum += static_cast<Sum>(x[i * kK + p]) * w[j * kK + p];
      out[i * kN + j] = static_cast<float>(sum);
    }
  }
}

}  // namespace

int main(int, char** argv) {
  const bool plain = std::strcmp(argv[1], "scalar") == 0;
  const bool bytes = std::strcmp(argv[2], "int8") == 0;
  const Type type = bytes ? Type::int8 : std::strcmp(argv[2], "bfloat16") == 0 ? Type::bfloat16 : Type::float32;
  const std::vector<float> weight(kN * kK, 0.5F);
  alignas(64) static char x[kRows * kK * 4];
  static float out[kRows * kN];
  static Grid grids[kRows] = {};
  if (plain) {
    for (int i = 0; i < std::atoi(argv[3]); ++i) {
      if (bytes)
        scalar<int>(reinterpret_cast<std::uint8_t*>(x), reinterpret_cast<const std::int8_t*>(weight.data()), out);
      if (!bytes) scalar<float>(reinterpret_cast<float*>(x), weight.data(), out);
    }
  } else {
    const auto& kernels = megaseg::kernels(argv[1]);
    const std::size_t size = kernels.linear_packed_size(type, kN, kK);
    void* packed = std::aligned_alloc(64, size);
    kernels.linear_pack(type, weight.data(), nullptr, kN, kK, packed);
    const megaseg::cpu::LinearArgs args{
        {x, kK, type, grids}, packed, {}, {out, kN, Type::float32, nullptr}, kN, kK, megaseg::cpu::Activation::none};
    for (int i = 0; i < std::atoi(argv[3]); ++i) {
      kernels.linear(args, 0, kRows, 0, kN / kernels.linear_panel(type));
    }
  }
  return out[0] == 1;
}
