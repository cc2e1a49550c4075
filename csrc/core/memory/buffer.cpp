#include "core/memory/buffer.h"

#include <cstring>
#include <new>

#include "core/platform/system.h"

namespace megaseg {
namespace {

constexpr std::size_t kMapped = std::size_t{1} << 20;  // from here on whole pages cost nothing
constexpr std::align_val_t kCacheLine{64};

}  // namespace

Buffer::Buffer(std::size_t count) : count_(count) {
  if (count == 0) return;
  if (bytes() >= kMapped) {
    data_ = static_cast<float*>(map_pages(bytes()));
  } else {
    data_ = static_cast<float*>(::operator new(bytes(), kCacheLine));
    std::memset(data_, 0, bytes());
  }
}

Buffer::~Buffer() {
  if (bytes() >= kMapped) {
    unmap_pages(data_, bytes());
  } else {
    ::operator delete(data_, kCacheLine);
  }
}

}  // namespace megaseg
