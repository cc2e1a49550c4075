#!/usr/bin/env bash
# The package's tests on emulated 64-bit ARM, for every NEON target and for processors that lack some.
#   run.sh            what CI runs: kernels, steps of programs and models against NumPy, libmegaseg's own test
#   run.sh all        also tests/kernels against the oracle in torch: hours of an idle core
#   run.sh PATHS...   these tests, as pytest takes them
# Cross-compiled by GCC, run by qemu-user over an arm64 Debian of which nothing but files is needed.
set -euo pipefail
cd "$(dirname "$0")/../.."
CACHE=${MEGASEG_ARM_CACHE:-$PWD/build/arm}
ROOT=$CACHE/root
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || command -v python3)}
TORCH="torch==2.5.1 typing-extensions sympy mpmath networkx jinja2 markupsafe fsspec filelock"

say() { echo "tests/arm: $*" >&2; }

tools() {
  local missing=()
  "$PYTHON" -c 'import numpy, pip, pybind11' 2>/dev/null ||
    { say "cannot run: $PYTHON lacks numpy, pip or pybind11 (PYTHON=... names another)"; exit 1; }
  command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
  command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "cannot run: install ${missing[*]} first (Debian's names)"
    exit 1
  fi
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"; } \
    >"$CACHE/tools.log" 2>&1 || { tail -5 "$CACHE/tools.log" >&2; say "cannot run: apt-get did not install ${missing[*]}"; exit 1; }
}

# Debian's files for arm64, unpacked and never configured.
root() {
  [ -e "$ROOT/complete" ] && return
  rm -rf "$ROOT"
  debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libpython3.11-dev bookworm "$ROOT" >"$CACHE/debootstrap.log" 2>&1 ||
    { tail -1 "$CACHE/debootstrap.log" >&2; say "cannot run: debootstrap got no arm64 Debian; it needs root and a network, once"; exit 1; }
  for package in "$ROOT"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$ROOT"; done
  touch "$ROOT/complete"
}

# site NAME PACKAGES: wheels for that Python, of one version line each, so that the cache stays good.
site() {
  [ "$(cat "$CACHE/$1/complete" 2>/dev/null)" = "$*" ] && return
  rm -rf "${CACHE:?}/$1"
  "$PYTHON" -m pip install --quiet --target "$CACHE/$1" --python-version 3.11 --only-binary=:all: --no-deps \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 "${@:2}" 2>"$CACHE/$1.log" ||
    { tail -1 "$CACHE/$1.log" >&2; say "cannot run: pip got no wheels for ${*:2}; is there a network?"; exit 1; }
  echo "$*" >"$CACHE/$1/complete"
}

# The libraries.
core() {
  cmake -S . -B "$CACHE/cpp" ${CMAKE_ARGS:-} -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ >"$CACHE/cmake.log"
  cmake --build "$CACHE/cpp" --parallel "$(nproc)" --target megaseg_core test_megaseg >"$CACHE/build.log" ||
    { tail -40 "$CACHE/build.log" >&2; exit 1; }
}

# The extension, in a package whose other files are the checkout's. Its headers are those of the root.
extension() {
  local headers=$CACHE/include package=$CACHE/package/megaseg objects=$CACHE/objects include
  include=$("$PYTHON" -c 'import pybind11; print(pybind11.get_include())')
  mkdir -p "$headers" "$package" "$objects"
  cp -r "$ROOT"/usr/include/python3.11/. "$headers"
  cp "$ROOT"/usr/include/aarch64-linux-gnu/python3.11/pyconfig.h "$headers"
  for file in "$PWD"/python/megaseg/*; do
    case $file in *.so | *__pycache__) ;; *) ln -sfn "$file" "$package/" ;; esac
  done
  basename -s .cpp csrc/bind/*.cpp | xargs -P "$(nproc)" -I{} aarch64-linux-gnu-g++ -std=c++20 -O1 -DNDEBUG -fPIC -fvisibility=hidden \
    -Icsrc -Icsrc/include -I"$headers" -I"$include" -c csrc/bind/{}.cpp -o "$objects/{}.o"
  aarch64-linux-gnu-g++ -shared "$objects"/*.o "$CACHE/cpp/libmegaseg_core.a" -o "$package/_C.cpython-311-aarch64-linux-gnu.so"
}

# emulated PROCESSOR TARGETS ARGUMENTS...: pytest there.
emulated() {
  MEGASEG_EXPECTED_TARGETS=$2 PYTHONPATH=$CACHE/package:$CACHE/site:$CACHE/torch PYTHONDONTWRITEBYTECODE=1 \
    MEGASEG_EXPECTED_SAMPLE=$CACHE/sample.json \
    qemu-aarch64-static -cpu "$1" -L "$ROOT" "$ROOT/usr/bin/python3.11" -m pytest -p no:cacheprovider "${@:3}"
}

NEON='["portable", "neon"'
ALL="$NEON, \"neon_dotprod\", \"neon_i8mm\", \"neon_bf16\"]"
SHORT="tests/arm tests/engine/backends/native/test_steps.py tests/engine/test_families.py"

# Each target on a processor that has no more than it needs, where there is one to emulate.
older() {
  qemu-aarch64-static -L "$ROOT" "$CACHE/cpp/test_megaseg" tests/cpp/data
  emulated cortex-a72 "$NEON]" $SHORT -k "(neon and not neon_) or (portable and not random_model) or offers or finite or segment_sample"
  emulated neoverse-n1 "$NEON, \"neon_dotprod\"]" $SHORT -k "neon_dotprod or offers"
}
newest() { emulated max "$ALL" $SHORT -k "neon_i8mm or neon_bf16 or offers"; }

mkdir -p "$CACHE"
tools
root
site site 'numpy==2.2.*' 'safetensors==0.5.*' 'pytest==9.*' 'iniconfig<3' packaging 'pluggy<2' 'pygments==2.*' \
  'typer==0.28.*' 'rich==15.*' 'shellingham==1.*' 'annotated-doc<1' 'markdown-it-py==4.*' 'mdurl<1'
core
extension
MEGASEG_CACHE= "$PYTHON" -m megaseg segment sample --json --compute-type float32 >"$CACHE/sample.json"
case ${1:-} in
  "")
    older >"$CACHE/older.log" 2>&1 & first=$!
    newest >"$CACHE/newest.log" 2>&1 & second=$!
    failed=0
    wait $first || failed=1
    cat "$CACHE/older.log"
    wait $second || failed=1
    cat "$CACHE/newest.log"
    exit $failed
    ;;
  all)
    site torch $TORCH
    emulated max "$ALL" tests/arm tests/kernels --ignore tests/kernels/test_targets.py
    ;;
  *) site torch $TORCH && emulated max "$ALL" "$@" ;;
esac
