#pragma once

// The ops of a GPU: raw pointers of its memory, queued on a stream. Compiled without CUDA's headers too.
#include <cstdint>

struct CUstream_st;

namespace megaseg::cuda {

using Stream = CUstream_st*;

enum class Type { float16, bfloat16 };  // of elements; sums are float32

// Rows of elements; the first element of each stands at a multiple of 16 bytes.
struct ConstRows {
  const void* data;
  std::int64_t stride;  // elements from row to row
};

struct Rows {
  void* data;
  std::int64_t stride;
};

// softmax(q k^T / sqrt(head_size)) v per sequence and head (supplementary, Table 1a). Rows of q, k, v and out hold
// every sequence's bottleneck tokens first, then its latents begin[b] to begin[b + 1]; with latent_queries q and out
// only these.
struct BottleneckAttentionArgs {
  ConstRows q, k, v;          // [batch * bottlenecks + latents, heads * head_size]
  Rows out;                   // as q
  const std::int32_t* begin;  // [batch + 1]
  int batch;
  int heads;
  int bottlenecks;
  int longest;  // latents of the longest sequence, or more
  bool latent_queries;
  float scale;  // log2(e) / sqrt(head_size)
};

// W of movies (supplementary, Eq. 2): bit (i, j) is u_i . v_j >= threshold where |i L_syn - j L_sh| < reach, else 0.
struct BandedEstepArgs {
  ConstRows shots;                     // [sum of L_sh, size]
  ConstRows sentences;                 // [sum of L_syn, size]
  const std::int32_t* shot_begin;      // [batch + 1]
  const std::int32_t* sentence_begin;  // [batch + 1]
  const std::int64_t* reach;           // [batch]
  const std::int64_t* out_begin;       // [batch + 1]: bytes of bits before each movie's
  std::uint8_t* bits;                  // [total]: of a movie [L_sh, ceil(L_syn / 8)], little-endian
  std::int32_t* bad;                   // [batch]: 1 where a similarity within the band is not finite
  int batch;
  int size;     // a multiple of 8
  int longest;  // the largest L_sh, or more
  std::int64_t total;
  float threshold;
};

// Each returns null, or what went wrong. Head sizes 32, 64 and 128.
const char* bottleneck_attention(const BottleneckAttentionArgs& args, Type type, int head_size, Stream stream);
const char* banded_estep(const BandedEstepArgs& args, Type type, Stream stream);

}  // namespace megaseg::cuda
