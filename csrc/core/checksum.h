#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace megaseg {

// CRC-32C of the CRC-32Cs (little-endian) of every block of 64 KiB: blocks can be summed side by side.
std::uint32_t checksum(std::span<const std::byte> data);

}  // namespace megaseg
