#include "core/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace megaseg {
namespace {
constexpr std::size_t kHugePage = std::size_t{2} << 20;
}

void FreeAligned::operator()(float* p) const { std::free(p); }

Buffer::Buffer(std::size_t count) : count_(count) {
  const std::size_t align = bytes() >= kHugePage ? kHugePage : 64;
  void* memory = nullptr;
  if (posix_memalign(&memory, align, bytes() ? bytes() : 64) != 0) throw std::bad_alloc();
  data_.reset(static_cast<float*>(memory));
  if (align == kHugePage) madvise(memory, bytes() / kHugePage * kHugePage, MADV_HUGEPAGE);
}

}  // namespace megaseg
