#include "cpu/ops.h"
#include "cpu/tile.h"

#define MEGASEG_STRING_(x) #x
#define MEGASEG_STRING(x) MEGASEG_STRING_(x)

namespace megaseg::cpu::MEGASEG_TARGET {

extern const KernelTable table;
const KernelTable table{
    .name = MEGASEG_STRING(MEGASEG_TARGET),
    .lanes = kLanes,
    .panel = kPanel,
    .linear = linear,
    .layer_norm = layer_norm,
    .embed = embed,
    .attention_packed_size = attention_packed_size,
    .attention_scratch_size = attention_scratch_size,
    .attention_pack = attention_pack,
    .attention = attention,
    .window_attention_scratch_size = window_attention_scratch_size,
    .window_attention = window_attention,
    .query_attention_scratch_size = query_attention_scratch_size,
    .query_attention = query_attention,
};

}  // namespace megaseg::cpu::MEGASEG_TARGET
