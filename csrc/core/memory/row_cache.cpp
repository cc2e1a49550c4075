#include "core/memory/row_cache.h"

namespace megaseg {

Keeper::Keeper(const Lives& lives, int most)
    : lives_(lives),
      most_(most),
      records_((static_cast<std::size_t>(most) * lives.record_bytes() + 3) / sizeof(float)) {}

std::byte* Keeper::record(std::int64_t shot) const {
  return reinterpret_cast<std::byte*>(records_.data()) + static_cast<std::size_t>(shot % most_) * lives_.record_bytes();
}

}  // namespace megaseg
