#include "cpu/ops.h"

#define MEGASEG_STRING_(x) #x
#define MEGASEG_STRING(x) MEGASEG_STRING_(x)

namespace megaseg::cpu::MEGASEG_TARGET {
namespace {

#if defined(MEGASEG_BF16)
constexpr bool kBFloat16 = true;
#else
constexpr bool kBFloat16 = false;
#endif
#if defined(MEGASEG_INT8)
constexpr bool kInt8 = true;
#else
constexpr bool kInt8 = false;
#endif

}  // namespace

extern const KernelTable table;
const KernelTable table{
    .name = MEGASEG_STRING(MEGASEG_TARGET),
    .types = {true, kBFloat16, kInt8, true},
    .linear_packed_size = linear_packed_size,
    .linear_pack = linear_pack,
    .linear_panel = linear_panel,
    .linear = linear,
    .layer_norm = layer_norm,
    .cast = cast,
    .embed = embed,
    .add_table = add_table,
    .add = add,
    .pool = pool,
    .l2_normalise = l2_normalise,
    .gather = gather,
    .scatter_mean = scatter_mean,
    .attention_panels_size = attention_panels_size,
    .attention_scratch_size = attention_scratch_size,
    .attention_panels = attention_panels,
    .attention = attention,
    .window_attention_scratch_size = window_attention_scratch_size,
    .window_attention = window_attention,
    .query_attention_scratch_size = query_attention_scratch_size,
    .query_attention = query_attention,
    .banded_estep = banded_estep,
    .window_sums = window_sums,
    .score_block = score_block,
    .product_ceiling = product_ceiling,
    .read_ceiling = read_ceiling,
};

}  // namespace megaseg::cpu::MEGASEG_TARGET
