// Aligned memory: long-lived buffers for weights, and an arena that a run's matrices are laid out in.
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

// Hands out pieces of a buffer. Without one it only counts: the same layout code measures and allocates.
class Arena {
 public:
  Arena() = default;
  explicit Arena(const Buffer& buffer) : base_(buffer.data()) {}

  float* take(std::size_t count) {
    float* piece = base_ ? base_ + used_ : nullptr;
    used_ += (count + kAlign - 1) / kAlign * kAlign;
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  static constexpr std::size_t kAlign = 16;  // floats in a cache line
  float* base_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace megaseg
