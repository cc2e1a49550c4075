#!/usr/bin/env bash
# Kernel and native-engine tests against a build with AddressSanitizer and UBSan, target amx on emulated tiles.
# Usage: sanitize.sh [python] [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}
shift || true
python=$(command -v "$python")
[[ $python == /* ]] || python=$PWD/$python
build=build/sanitize
package=$PWD/$build/python

cmake -S . -B "$build" -DMEGASEG_SANITIZE=address,undefined -DMEGASEG_EMULATE_AMX=ON -DMEGASEG_PYTHON=ON \
    -DMEGASEG_OUTPUT_DIR="$package/megaseg" -DPython_EXECUTABLE="$python" -DCMAKE_CXX_FLAGS_RELEASE="-O1" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
cmake --build "$build" --parallel "$(nproc)" >>"$build.log" 2>&1 || { tail -40 "$build.log"; exit 1; }

# The package as it is, with the instrumented extension in the place of the ordinary one.
rm -rf "$package"/megaseg/{engine,kernels}  # a stale copy must not serve
cp -rLf python/megaseg/*.py python/megaseg/engine python/megaseg/kernels python/megaseg/models "$package/megaseg/"
export PYTHONPATH=$package
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 # the interpreter's own leaks are not ours
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export LD_PRELOAD="$(${CXX:-c++} -print-file-name=libasan.so):$(${CXX:-c++} -print-file-name=libubsan.so)"
"$python" - <<'CHECK'
from megaseg import _C
assert "build/sanitize" in _C.__file__ and b"__asan_init" in open(_C.__file__, "rb").read(), _C.__file__
CHECK
# Larger streams in float32 only: how rows are handed on is the same in every type, and emulated tiles are slow.
"$python" -m pytest -p no:cacheprovider -p no:benchmark -n "$(nproc)" --dist worksteal -m '' -k "not (streams_of_odd_models and (bfloat16 or int8))" tests/kernels tests/engine/backends/native/test_native.py tests/engine/backends/native/test_native_streams.py tests/engine/backends/native/test_artefact.py tests/engine/backends/native/test_steps.py tests/engine/backends/native/test_programs.py "$@"
