#include "core/memory/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace megaseg {
namespace {

constexpr std::size_t kMapped = std::size_t{1} << 20;  // from here on whole pages cost nothing
constexpr std::size_t kCacheLine = 64;

void* map(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: without it everything works, in small pages
  return memory;
}

}  // namespace

Buffer::Buffer(std::size_t count) : count_(count) {
  if (count == 0) return;
  const std::size_t lines = (bytes() + kCacheLine - 1) / kCacheLine;
  void* memory = bytes() >= kMapped ? map(bytes()) : std::aligned_alloc(kCacheLine, lines * kCacheLine);
  if (!memory) throw std::bad_alloc();
  data_ = static_cast<float*>(memory);
  if (bytes() < kMapped) __builtin_memset(memory, 0, lines * kCacheLine);
}

Buffer::~Buffer() {
  if (bytes() >= kMapped) {
    munmap(data_, bytes());
  } else {
    std::free(data_);
  }
}

}  // namespace megaseg
