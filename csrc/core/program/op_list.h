// The one list of ops: their numbers in a program are their places here. C++ expands it wherever every op has its turn;
// Python reads the names through megaseg._C.ops().
#pragma once

#define MEGASEG_OPS(OP) \
  OP(features)          \
  OP(cast)              \
  OP(windows)           \
  OP(linear)            \
  OP(head_linear)       \
  OP(layer_norm)        \
  OP(add_table)         \
  OP(prepend)           \
  OP(embed)             \
  OP(inverse_std)       \
  OP(select)            \
  OP(merge)             \
  OP(join)              \
  OP(attention)         \
  OP(window_attention)  \
  OP(query_attention)   \
  OP(add)               \
  OP(pool)              \
  OP(l2_normalise)      \
  OP(gather)            \
  OP(concat)            \
  OP(scatter_mean)
