// The register tile under every product: up to kTileRows rows of A, broadcast, times up to kTileVecs vectors of B.
// Each element of C is one chain of multiply-adds over k in order, whatever the tile's shape: results never depend on
// how rows are split between tiles, tasks or threads.
#pragma once

#include "cpu/vec.h"

namespace {

#if defined(MEGASEG_TARGET_avx512)
constexpr int kTileVecs = 4;  // 6 x 4 accumulators of 32 registers
#else
constexpr int kTileVecs = 2;  // 6 x 2 accumulators of 16 registers
#endif
constexpr int kTileRows = 6;
constexpr int kPanel = kTileVecs * kLanes;

// acc += A[0:Rows, 0:k] B[0:k, 0:Vecs * kLanes]
template <int Rows, int Vecs>
MEGASEG_INLINE void multiply(const float* a, ptrdiff_t a_stride, const float* b, ptrdiff_t b_stride, int k,
                             Vec (&acc)[Rows][Vecs]) {
  MEGASEG_NO_UNROLL
  for (int p = 0; p < k; ++p, b += b_stride) {
    Vec column[Vecs];
    MEGASEG_UNROLL
    for (int j = 0; j < Vecs; ++j) column[j] = load(b + j * kLanes);
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Vec x = splat(a[i * a_stride + p]);
      MEGASEG_UNROLL
      for (int j = 0; j < Vecs; ++j) acc[i][j] += x * column[j];
    }
  }
}

// C (+)= A B for one tile; C has room for whole vectors.
template <int Rows, int Vecs, bool kAccumulate>
void product_tile(const float* a, ptrdiff_t a_stride, const float* b, ptrdiff_t b_stride, int k, float* c,
                  ptrdiff_t c_stride) {
  Vec acc[Rows][Vecs];
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MEGASEG_UNROLL
    for (int j = 0; j < Vecs; ++j) acc[i][j] = kAccumulate ? load(c + i * c_stride + j * kLanes) : Vec{};
  }
  multiply<Rows, Vecs>(a, a_stride, b, b_stride, k, acc);
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MEGASEG_UNROLL
    for (int j = 0; j < Vecs; ++j) store(c + i * c_stride + j * kLanes, acc[i][j]);
  }
}

using ProductTile = void (*)(const float*, ptrdiff_t, const float*, ptrdiff_t, int, float*, ptrdiff_t);

template <int Rows, bool kAccumulate>
ProductTile product_tile_of(int vecs) {
#if defined(MEGASEG_TARGET_avx512)
  if (vecs == 4) return product_tile<Rows, 4, kAccumulate>;
  if (vecs == 3) return product_tile<Rows, 3, kAccumulate>;
#endif
  return vecs == 2 ? product_tile<Rows, 2, kAccumulate> : product_tile<Rows, 1, kAccumulate>;
}

// C[rows, vecs * kLanes] (+)= A[rows, k] B[k, vecs * kLanes], vecs <= kTileVecs, any number of rows.
template <bool kAccumulate>
MEGASEG_INLINE void product(const float* a, ptrdiff_t a_stride, const float* b, ptrdiff_t b_stride, int k, float* c,
                            ptrdiff_t c_stride, int rows, int vecs) {
  const ProductTile full = product_tile_of<kTileRows, kAccumulate>(vecs);
  for (; rows >= kTileRows; rows -= kTileRows, a += kTileRows * a_stride, c += kTileRows * c_stride) {
    full(a, a_stride, b, b_stride, k, c, c_stride);
  }
  ProductTile rest = nullptr;
  switch (rows) {
    case 1: rest = product_tile_of<1, kAccumulate>(vecs); break;
    case 2: rest = product_tile_of<2, kAccumulate>(vecs); break;
    case 3: rest = product_tile_of<3, kAccumulate>(vecs); break;
    case 4: rest = product_tile_of<4, kAccumulate>(vecs); break;
    case 5: rest = product_tile_of<5, kAccumulate>(vecs); break;
    default: return;
  }
  rest(a, a_stride, b, b_stride, k, c, c_stride);
}

}  // namespace
