// Aligned memory: long-lived buffers for weights, and an arena that a run's matrices are laid out in.
#pragma once

#include <cstddef>
#include <memory>

namespace megaseg {

struct FreeAligned {
  void operator()(float* p) const;
};

// `count` uninitialised floats, cache-line aligned; large ones are offered to the kernel as huge pages.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t count);

  float* data() const { return data_.get(); }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(float); }

 private:
  std::unique_ptr<float[], FreeAligned> data_;
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
