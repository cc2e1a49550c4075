// The tile registers of AMX, and nothing else: eight tiles of up to 16 rows of 64 bytes, as a 2 x 2 block of C uses
// them. With MEGASEG_EMULATE_AMX the same operations in plain C++ on arrays, so that the code above runs on any
// machine.
#pragma once

#include "cpu/tile.h"

namespace {

enum Tile : int { kC00, kC01, kC10, kC11, kA0, kA1, kB0, kB1 };  // the tiles' numbers
constexpr int kTileHeight = 16;                                  // rows
constexpr int kTileBytes = 64;                                   // bytes of a row

// Rows of a tile where A has rows0 in its upper tile and rows1 in its lower one.
constexpr int rows_of_tile(int tile, int rows0, int rows1) {
  if (tile == kB0 || tile == kB1) return kTileHeight;
  return tile == kC00 || tile == kC01 || tile == kA0 ? rows0 : rows1;
}

#if defined(MEGASEG_EMULATE_AMX)

class Tiles {
 public:
  void configure(int rows0, int rows1) {
    for (int tile = 0; tile < 8; ++tile) rows_[tile] = rows_of_tile(tile, rows0, rows1);
    __builtin_memset(data_, 0, sizeof data_);
  }
  template <Tile kTile>
  void zero() {
    __builtin_memset(data_[kTile], 0, sizeof data_[kTile]);
  }
  template <Tile kTile>
  void load(const void* from, ptrdiff_t stride) {
    zero<kTile>();
    for (int r = 0; r < rows_[kTile]; ++r) {
      __builtin_memcpy(data_[kTile][r], static_cast<const char*>(from) + r * stride, kTileBytes);
    }
  }
  template <Tile kTile>
  void load_passing(const void* from, ptrdiff_t stride) {
    load<kTile>(from, stride);
  }
  template <Tile kTile>
  void store(void* to, ptrdiff_t stride) const {
    for (int r = 0; r < rows_[kTile]; ++r) {
      __builtin_memcpy(static_cast<char*>(to) + r * stride, data_[kTile][r], kTileBytes);
    }
  }

  // tdpbf16ps: the even and the odd neighbours in k have a sum each, float32, added to C at the end.
  template <Tile kC, Tile kA, Tile kB>
  void dot(BFloat16Pairs) {
    for (int r = 0; r < rows_[kC]; ++r) {
      float sums[2][16] = {};
      for (int p = 0; p < 16; ++p) {
        for (int i = 0; i < 32; ++i) {
          sums[i % 2][i / 2] += bfloat16(data_[kA][r], 2 * p + i % 2) * bfloat16(data_[kB][p], i);
        }
      }
      float c[16];
      __builtin_memcpy(c, data_[kC][r], sizeof c);
      for (int i = 0; i < 16; ++i) c[i] += sums[0][i] + sums[1][i];
      __builtin_memcpy(data_[kC][r], c, sizeof c);
    }
  }

  // tdpbusd: unsigned bytes of A, signed bytes of B, int32 sums that wrap around.
  template <Tile kC, Tile kA, Tile kB>
  void dot(Int8) {
    for (int r = 0; r < rows_[kC]; ++r) {
      std::uint32_t c[16];
      __builtin_memcpy(c, data_[kC][r], sizeof c);
      for (int p = 0; p < 16; ++p) {
        for (int i = 0; i < 64; ++i) {
          c[i / 4] +=
              static_cast<std::uint32_t>(data_[kA][r][4 * p + i % 4] * static_cast<std::int8_t>(data_[kB][p][i]));
        }
      }
      __builtin_memcpy(data_[kC][r], c, sizeof c);
    }
  }

 private:
  static float bfloat16(const std::uint8_t* row, int i) {
    std::uint16_t half;
    __builtin_memcpy(&half, row + 2 * i, sizeof half);
    const std::uint32_t bits = std::uint32_t{half} << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
  }

  int rows_[8] = {};
  std::uint8_t data_[8][kTileHeight][kTileBytes] = {};
};

#else

// Instructions rather than intrinsics: GCC's carry no memory clobber, so that a tile could be read before it is
// written.
class Tiles {
 public:
  Tiles() = default;
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  ~Tiles() { asm volatile("tilerelease"); }

  // The thread's configuration; clears every tile.
  void configure(int rows0, int rows1) {
    struct {
      std::uint8_t palette = 1;
      std::uint8_t start_row = 0;
      std::uint8_t reserved[14] = {};
      std::uint16_t bytes[16] = {};
      std::uint8_t rows[16] = {};
    } config;
    static_assert(sizeof config == 64);
    for (int tile = 0; tile < 8; ++tile) {
      config.rows[tile] = static_cast<std::uint8_t>(rows_of_tile(tile, rows0, rows1));
      config.bytes[tile] = config.rows[tile] ? kTileBytes : 0;
    }
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  template <Tile kTile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <Tile kTile>
  void load(const void* from, ptrdiff_t stride) {
    asm volatile("tileloadd (%0,%1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  // What is not read again soon: it does not push the rest out of the L1 cache.
  template <Tile kTile>
  void load_passing(const void* from, ptrdiff_t stride) {
    asm volatile("tileloaddt1 (%0,%1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <Tile kTile>
  void store(void* to, ptrdiff_t stride) const {
    asm volatile("tilestored %%tmm%c2, (%0,%1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <Tile kC, Tile kA, Tile kB>
  void dot(BFloat16Pairs) {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
  template <Tile kC, Tile kA, Tile kB>
  void dot(Int8) {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
};

#endif

}  // namespace
