#include "core/checksum.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "core/platform/x86.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace megaseg {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 16;
constexpr std::size_t kLanes = 4;  // blocks side by side: one crc32 instruction waits three cycles for the one before

using Bytes = std::span<const std::byte>;

// CRC-32C by bytes, for the rest of a block and for processors without the instruction.
std::uint32_t by_table(std::uint32_t crc, Bytes data) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82F63B78U : 0U);
      entries[i] = value;
    }
    return entries;
  }();
  for (const std::byte byte : data) crc = (crc >> 8) ^ table[(crc ^ static_cast<std::uint32_t>(byte)) & 255U];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2,crc32"))) void four_blocks(const std::byte* data, std::uint32_t* crcs) {
  std::uint64_t crc[kLanes] = {~0U, ~0U, ~0U, ~0U};
  for (std::size_t i = 0; i < kBlock; i += 8) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      std::uint64_t word;
      std::memcpy(&word, data + lane * kBlock + i, 8);
      crc[lane] = _mm_crc32_u64(crc[lane], word);
    }
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane) crcs[lane] = ~static_cast<std::uint32_t>(crc[lane]);
}
bool has_instruction() {
  static const bool has = x86_features().sse42;
  return has;
}
#else
void four_blocks(const std::byte*, std::uint32_t*) {}
bool has_instruction() { return false; }
#endif

}  // namespace

std::uint32_t checksum(Bytes data) {
  std::vector<std::uint32_t> crcs((data.size() + kBlock - 1) / kBlock);
  std::size_t block = 0;
  if (has_instruction()) {
    for (; (block + kLanes) * kBlock <= data.size(); block += kLanes) {
      four_blocks(data.data() + block * kBlock, crcs.data() + block);
    }
  }
  for (; block < crcs.size(); ++block) {
    const std::size_t begin = block * kBlock;
    crcs[block] = ~by_table(~0U, data.subspan(begin, std::min(kBlock, data.size() - begin)));
  }
  return ~by_table(~0U, std::as_bytes(std::span(crcs)));
}

}  // namespace megaseg
