#pragma once

// What the kernels ask of the hardware, one function for each instruction (PTX ISA). tests/cuda/emulation.h has the
// same names on a CPU, where the kernels run as they are.
#include <cstddef>
#include <cstdint>
#include <limits>

#include "cuda/ops.h"

#if defined(MEGASEG_EMULATE_CUDA)
#include "emulation.h"
#else
#include <cuda_runtime.h>

#define MEGASEG_DEVICE __device__ __forceinline__
#define MEGASEG_GLOBAL static __device__

namespace megaseg::cuda {

struct alignas(16) Chunk {  // 8 elements
  std::uint32_t word[4];
};

inline const char* text_of(cudaError_t error) { return error == cudaSuccess ? nullptr : cudaGetErrorString(error); }

// Blocks of `threads` with `shared` bytes each that the kernel finds at shared_memory().
template <typename Args>
const char* launch(void (*kernel)(Args), std::int64_t blocks, int threads, int shared, Stream stream, Args args) {
  if (blocks == 0) return nullptr;
  if (blocks > std::numeric_limits<int>::max()) return text_of(cudaErrorInvalidConfiguration);
  const void* function = reinterpret_cast<const void*>(kernel);
  if (shared > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess) return text_of(error);
  }
  void* arguments[] = {&args};
  return text_of(cudaLaunchKernel(function, dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads)),
                                  arguments, static_cast<std::size_t>(shared), stream));
}

inline const char* clear(void* data, std::size_t bytes, Stream stream) {
  return bytes == 0 ? nullptr : text_of(cudaMemsetAsync(data, 0, bytes, stream));
}

MEGASEG_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
MEGASEG_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }

MEGASEG_DEVICE unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char memory[];
  return memory;
}

MEGASEG_DEVICE std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

MEGASEG_DEVICE void sync_threads() { __syncthreads(); }
MEGASEG_DEVICE void sync_warp() { __syncwarp(); }

template <typename T>
MEGASEG_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffU, value, mask);
}

MEGASEG_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

MEGASEG_DEVICE float maximum(float x, float y) { return fmaxf(x, y); }

MEGASEG_DEVICE Chunk load_chunk(const void* from) {
  const uint4 words = *static_cast<const uint4*>(from);
  return {{words.x, words.y, words.z, words.w}};
}

MEGASEG_DEVICE void store_chunk(void* to, const Chunk& chunk) {
  *static_cast<uint4*>(to) = make_uint4(chunk.word[0], chunk.word[1], chunk.word[2], chunk.word[3]);
}

// Two elements in a word, the first in its low half.
template <Type kType>
MEGASEG_DEVICE std::uint32_t pack(float low, float high) {
  std::uint32_t word;
  if constexpr (kType == Type::float16) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  }
  return word;
}

// d[16, 8] += a[16, 16] b[16, 8], spread over the warp as "Matrix Fragments for mma.m16n8k16" says.
template <Type kType>
MEGASEG_DEVICE void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  if constexpr (kType == Type::float16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// Four 8 x 8 matrices of shared memory: lane l names row l % 8 of matrix l / 8, 16 bytes.
MEGASEG_DEVICE void ldmatrix(std::uint32_t (&words)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(shared_address(row))
               : "memory");
}

MEGASEG_DEVICE void ldmatrix_transposed(std::uint32_t (&words)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(shared_address(row))
               : "memory");
}

// 16 bytes from global to shared memory, or zeros (nothing is read); there once its group is waited for.
MEGASEG_DEVICE void copy_async(void* to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}

MEGASEG_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until at most kPending of this thread's groups are under way; other threads see the data after a barrier.
template <int kPending>
MEGASEG_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace megaseg::cuda
#endif
