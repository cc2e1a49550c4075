#!/usr/bin/env bash
# The package's tests on emulated 64-bit ARM, for every NEON target and for processors that lack some.
#   run.sh            the products and attention (NumPy alone), and libmegaseg's own test: the short set, not in CI yet
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
  command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
  command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "cannot run: install ${missing[*]} first (Debian's names)"
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Debian's files for arm64, unpacked and never configured.
root() {
  [ -e "$ROOT/complete" ] && return
  rm -rf "$ROOT"
  debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libpython3.11-dev bookworm "$ROOT" >"$CACHE/debootstrap.log"
  for package in "$ROOT"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$ROOT"; done
  touch "$ROOT/complete"
}

# site NAME PACKAGES: wheels for that Python. NumPy of one version line, so that the cache stays good.
site() {
  [ -e "$CACHE/$1/complete" ] && return
  "$PYTHON" -m pip install --quiet --target "$CACHE/$1" --python-version 3.11 --only-binary=:all: --no-deps \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 "${@:2}" 2>"$CACHE/$1.log" ||
    { cat "$CACHE/$1.log" >&2; exit 1; }
  touch "$CACHE/$1/complete"
}

# The libraries and the extension, in a package whose other files are the checkout's.
build() {
  local headers=$CACHE/include package=$CACHE/package/megaseg
  cmake -S . -B "$CACHE/cpp" ${CMAKE_ARGS:-} -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ >"$CACHE/cmake.log"
  cmake --build "$CACHE/cpp" --parallel "$(nproc)" --target megaseg_core test_megaseg >"$CACHE/build.log" ||
    { tail -40 "$CACHE/build.log" >&2; exit 1; }
  mkdir -p "$headers" "$package"
  cp -r "$ROOT"/usr/include/python3.11/. "$headers"
  cp "$ROOT"/usr/include/aarch64-linux-gnu/python3.11/pyconfig.h "$headers"
  for file in "$PWD"/python/megaseg/*; do
    case $file in *.so | *__pycache__) ;; *) ln -sfn "$file" "$package/" ;; esac
  done
  aarch64-linux-gnu-g++ -std=c++20 -O1 -DNDEBUG -shared -fPIC -fvisibility=hidden -Icsrc -Icsrc/include -I"$headers" \
    -I"$("$PYTHON" -c 'import pybind11; print(pybind11.get_include())')" csrc/bind/*.cpp "$CACHE/cpp/libmegaseg_core.a" \
    -o "$package/_C.cpython-311-aarch64-linux-gnu.so"
}

# emulated PROCESSOR TARGETS ARGUMENTS...: Python there.
emulated() {
  MEGASEG_EXPECTED_TARGETS=$2 PYTHONPATH=$CACHE/package:$CACHE/site:$CACHE/torch PYTHONDONTWRITEBYTECODE=1 \
    qemu-aarch64-static -cpu "$1" -L "$ROOT" "$ROOT/usr/bin/python3.11" "${@:3}"
}

mkdir -p "$CACHE"
tools
root
site site 'numpy==2.2.*' 'safetensors==0.5.*' 'pytest==9.*' 'iniconfig<3' packaging 'pluggy<2' pygments
build
NEON='["portable", "neon"'
ALL="$NEON, \"neon_dotprod\", \"neon_i8mm\", \"neon_bf16\"]"
TEST="-m pytest -p no:cacheprovider -q"
case ${1:-} in
  "")
    qemu-aarch64-static -L "$ROOT" "$CACHE/cpp/test_megaseg" tests/cpp/data
    emulated cortex-a72 "$NEON]" $TEST --noconftest tests/arm -k offers
    emulated neoverse-n1 "$NEON, \"neon_dotprod\"]" $TEST --noconftest tests/arm -k offers
    emulated max "$ALL" $TEST --noconftest tests/arm
    ;;
  all)
    site torch $TORCH
    emulated max "$ALL" $TEST tests/arm tests/kernels --ignore tests/kernels/test_targets.py
    ;;
  *) site torch $TORCH && emulated max "$ALL" $TEST "$@" ;;
esac
