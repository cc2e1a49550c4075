#!/usr/bin/env bash
# Instructions on emulated ARM, by target and type, beside plain loops: of one layer's product, and of one window through
# libmegaseg. Each is the difference of a run of two and one of one, as JSON lines. After tests/arm/run.sh; needs
# qemu-aarch64 with plugins (Debian's qemu-user).
set -euo pipefail
cd "$(dirname "$0")/../.."
CACHE=${MEGASEG_ARM_CACHE:-$PWD/build/arm}
gcc -O2 -shared -fPIC tests/arm/count.c -o "$CACHE/libcount.so"
aarch64-linux-gnu-g++ -std=c++20 -O3 -Icsrc -Icsrc/include -DMEGASEG_ARM64=1 tests/arm/product.cpp \
  "$CACHE/cpp/libmegaseg_core.a" -o "$CACHE/product"
for unroll in no-unroll unroll; do
  aarch64-linux-gnu-g++ -std=c++20 -O3 -fno-tree-vectorize "-f$unroll-loops" -Icsrc/include tests/arm/window.cpp \
    "$CACHE/cpp/libmegaseg.so" -Wl,-rpath,"$CACHE/cpp" -o "$CACHE/window.$unroll"
done
PYTHONPATH=$CACHE/package:$CACHE/site PYTHONDONTWRITEBYTECODE=1 qemu-aarch64-static -cpu max -L "$CACHE/root" \
  "$CACHE/root/usr/bin/python3.11" tests/arm/window.py "$CACHE"

count() { qemu-aarch64 -cpu max -L "$CACHE/root" -plugin "$CACHE/libcount.so" "$@" 2>&1; }
for run in "scalar float32" "scalar int8" "portable float32" "neon float32" "neon_dotprod int8" "neon_i8mm int8" "neon_bf16 bfloat16"; do
  read -r target type <<<"$run"
  printf '{"case": "product", "target": "%s", "type": "%s", "instructions": %d}\n' "$target" "$type" \
    $(($(count "$CACHE/product" "$target" "$type" 2) - $(count "$CACHE/product" "$target" "$type" 1)))
done
# window PROGRAM FILE NAME
window() {
  printf '{"case": "window", "model": "%s", "instructions": %d}\n' "$3" $(($(count "$CACHE/$1" "$2" 2) - $(count "$CACHE/$1" "$2" 1)))
}
window window.no-unroll "$CACHE/window.plain.float32.steps" "plain loops"
window window.unroll "$CACHE/window.plain.float32.steps" "plain loops, unrolled by the compiler"
for file in "$CACHE"/window.*.mseg; do
  name=$(basename "${file%.mseg}")
  window window.no-unroll "$file" "${name#window.}"
done
