#pragma once

// The primitives of csrc/cuda/primitives.cuh on a CPU: every thread of a block is a fiber, warps take turns at random,
// and collective instructions do what the PTX ISA says, from its tables. What an asynchronous copy will write is NaN
// until it has been waited for and a barrier passed; shared memory begins as NaN. Alignment, bounds of shared memory,
// bank conflicts of ldmatrix and deadlocks are checked, and end the program.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "cuda/ops.h"

#define MEGASEG_DEVICE inline
#define MEGASEG_GLOBAL static
#define __global__
#define __launch_bounds__(...)

namespace megaseg::cuda {

struct alignas(16) Chunk {
  std::uint32_t word[4];
};

namespace emulation {

constexpr int kLanes = 32;

// Runs every block from first_block on, one after the other.
void run(std::int64_t blocks, int threads, int shared, const std::function<void()>& kernel);
extern std::int64_t first_block;
extern int launches;

int block();
int thread();
unsigned char* shared();

// All lanes of a warp come with operands; the last one does the work for all.
void meet(const char* instruction, void* operands, void (*work)(void* const* lanes));
void meet_all();
void land();  // copies that were waited for become visible
void copy(void* to, const void* from, bool valid);
void commit();
void wait(std::size_t pending);

std::uint16_t round(Type type, float value);  // to nearest, ties to even
float widen(Type type, std::uint16_t bits);

struct Mma {
  Type type;
  float* d;
  const std::uint32_t* a;
  std::uint32_t b[2];
};
void mma(void* const* lanes);

struct Ldmatrix {
  std::uint32_t* words;
  const void* row;
};
void ldmatrix(void* const* lanes);
void ldmatrix_transposed(void* const* lanes);

}  // namespace emulation

template <typename Args>
const char* launch(void (*kernel)(Args), std::int64_t blocks, int threads, int shared, Stream, Args args) {
  emulation::run(blocks, threads, shared, [&] { kernel(args); });
  return nullptr;
}

inline const char* clear(void* data, std::size_t bytes, Stream) {
  for (std::size_t i = 0; i < bytes; ++i) static_cast<unsigned char*>(data)[i] = 0;
  return nullptr;
}

inline int block_index() { return emulation::block(); }
inline int thread_index() { return emulation::thread(); }
inline unsigned char* shared_memory() { return emulation::shared(); }
inline void sync_threads() { emulation::meet_all(); }

inline void sync_warp() {
  emulation::land();
  emulation::meet("syncwarp", nullptr, [](void* const*) {});
}

template <typename T>
T shuffle_xor(T value, int mask) {
  struct Operands {
    T value, got;
    int mask;
  } operands{value, value, mask};
  emulation::meet("shfl.bfly", &operands, [](void* const* lanes) {
    for (int lane = 0; lane < emulation::kLanes; ++lane) {
      auto* mine = static_cast<Operands*>(lanes[lane]);
      mine->got = static_cast<const Operands*>(lanes[lane ^ mine->mask])->value;
    }
  });
  return operands.got;
}

inline float exp2_approx(float x) { return std::exp2(x); }
inline float maximum(float x, float y) { return std::fmax(x, y); }

inline Chunk load_chunk(const void* from) { return *static_cast<const Chunk*>(from); }
inline void store_chunk(void* to, const Chunk& chunk) { *static_cast<Chunk*>(to) = chunk; }

template <Type kType>
std::uint32_t pack(float low, float high) {
  return static_cast<std::uint32_t>(emulation::round(kType, high)) << 16 | emulation::round(kType, low);
}

template <Type kType>
void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  emulation::Mma operands{kType, d, a, {b0, b1}};
  emulation::meet("mma", &operands, emulation::mma);
}

inline void ldmatrix(std::uint32_t (&words)[4], const void* row) {
  emulation::Ldmatrix operands{words, row};
  emulation::meet("ldmatrix", &operands, emulation::ldmatrix);
}

inline void ldmatrix_transposed(std::uint32_t (&words)[4], const void* row) {
  emulation::Ldmatrix operands{words, row};
  emulation::meet("ldmatrix.trans", &operands, emulation::ldmatrix_transposed);
}

inline void copy_async(void* to, const void* from, bool valid) { emulation::copy(to, from, valid); }
inline void commit_copies() { emulation::commit(); }

template <int kPending>
void wait_copies() {
  emulation::wait(kPending);
}

}  // namespace megaseg::cuda
