// Aligned memory that lives long: packed weights, workspaces, cached rows.
#pragma once

#include <cstddef>
#include <utility>

namespace megaseg {

// `count` floats, cache-line aligned, zero until written. Straight from the kernel, in huge pages where it grants them,
// and straight back: large blocks never fragment the heap.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t count);  // throws std::bad_alloc
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }

  float* data() const { return data_; }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(float); }

 private:
  float* data_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace megaseg
