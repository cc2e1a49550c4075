// The ops of the target being compiled; csrc/cpu/table.cpp collects them.
#pragma once

#include "cpu/kernels.h"
#include "cpu/vec.h"

namespace megaseg::cpu::MEGASEG_TARGET {

void layer_norm(const LayerNormArgs& args, int begin, int end);

}  // namespace megaseg::cpu::MEGASEG_TARGET
