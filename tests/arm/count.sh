#!/usr/bin/env bash
# Instructions of one layer's product on emulated ARM, by target and type, beside plain loops: the difference of runs of
# two products and of one, as JSON lines. After tests/arm/run.sh; needs qemu-aarch64 with plugins (Debian's qemu-user).
set -euo pipefail
cd "$(dirname "$0")/../.."
CACHE=${MEGASEG_ARM_CACHE:-$PWD/build/arm}
gcc -O2 -shared -fPIC tests/arm/count.c -o "$CACHE/libcount.so"
aarch64-linux-gnu-g++ -std=c++20 -O3 -Icsrc -Icsrc/include -DMEGASEG_ARM64=1 tests/arm/product.cpp \
  "$CACHE/cpp/libmegaseg_core.a" -o "$CACHE/product"
count() { qemu-aarch64 -cpu max -L "$CACHE/root" -plugin "$CACHE/libcount.so" "$CACHE/product" "$1" "$2" "$3" 2>&1; }
for run in "scalar float32" "scalar int8" "portable float32" "neon float32" "neon_dotprod int8" "neon_i8mm int8" "neon_bf16 bfloat16"; do
  read -r target type <<<"$run"
  printf '{"target": "%s", "type": "%s", "instructions": %d}\n' "$target" "$type" \
    $(($(count "$target" "$type" 2) - $(count "$target" "$type" 1)))
done
