#include "cpu/ops.h"

#define MEGASEG_STRING_(x) #x
#define MEGASEG_STRING(x) MEGASEG_STRING_(x)

namespace megaseg::cpu::MEGASEG_TARGET {

extern const KernelTable table;
const KernelTable table{.name = MEGASEG_STRING(MEGASEG_TARGET), .lanes = kLanes, .layer_norm = layer_norm};

}  // namespace megaseg::cpu::MEGASEG_TARGET
