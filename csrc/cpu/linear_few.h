// Products of few columns, such as two classes: dot products along k, several rows at a time.
#pragma once

#include "cpu/linear.h"

namespace {

template <int Rows>
void few_columns(const LinearArgs& args, Finish finish, int row) {
  alignas(kLine) float sums[Rows * kPanel];  // of a row the first vector alone is read
  MEGASEG_UNROLL
  for (int i = 0; i < Rows; ++i) store(sums + i * kPanel, Vec{});
  const float* in = row_of<float>(args.in, row);
  const float* weight = static_cast<const float*>(args.weight);
  for (int column = 0; column < args.n; ++column, weight += args.k) {
    Vec acc[Rows] = {};
    int p = 0;
    MEGASEG_NO_UNROLL
    for (; p + kLanes <= args.k; p += kLanes) {
      const Vec w = load(weight + p);
      MEGASEG_UNROLL
      for (int i = 0; i < Rows; ++i) acc[i] += load(in + i * args.in.stride + p) * w;
    }
    const int rest = args.k - p;
    MEGASEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      if (rest) acc[i] += load_partial(in + i * args.in.stride + p, rest) * load_partial(weight + p, rest);
      sums[i * kPanel + column] = sum(acc[i]);
    }
  }
  finish(args, {sums, nullptr, row, Rows, 0, at(args.out, row, 0)});
}

void run_few(const LinearArgs& args, int row_begin, int row_end) {
  constexpr int kRows = 8;
  const Finish finish = finish_of<Float32>(args, args.out.type);
  int row = row_begin;
  for (; row + kRows <= row_end; row += kRows) few_columns<kRows>(args, finish, row);
  for (; row < row_end; ++row) few_columns<1>(args, finish, row);
}

}  // namespace
