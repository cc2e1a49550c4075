#include "core/memory/row_cache.h"

namespace megaseg {

RowCache::RowCache(const Lifetimes& lifetimes, int most)
    : lifetimes_(lifetimes),
      most_(most),
      records_((static_cast<std::size_t>(most) * lifetimes.record_bytes() + 3) / sizeof(float)) {}

std::byte* RowCache::record(std::int64_t shot) const {
  return reinterpret_cast<std::byte*>(records_.data()) +
         static_cast<std::size_t>(shot % most_) * lifetimes_.record_bytes();
}

}  // namespace megaseg
