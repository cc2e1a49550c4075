// Products of few columns, such as two classes: dot products along k, several rows at a time.
#pragma once

#include "cpu/linear.h"

namespace {

template <int Rows>
void few_columns(const LinearArgs& args, Finish<Float32> finish, int row) {
  alignas(kLine) float sums[Rows * kPanel] = {};
  alignas(kLine) float zeros[Rows * kPanel] = {};
  const float* bias = Packed<Float32>(args).bias();
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
      sums[i * kPanel + column] = bias[column] + sum(acc[i]);
    }
  }
  const Sums done{sums, zeros, 0, row, Rows, 0, at(args.out, row, 0), nullptr};
  finish(args, Values<Float32>(args, done), done, 0, Rows);
}

void run_few(const LinearArgs& args, int row_begin, int row_end) {
  constexpr int kRows = 8;
  const Finish<Float32> finish = finish_of<Float32>(args, args.out.type);
  int row = row_begin;
  for (; row + kRows <= row_end; row += kRows) few_columns<kRows>(args, finish, row);
  for (; row < row_end; ++row) few_columns<1>(args, finish, row);
}

}  // namespace
