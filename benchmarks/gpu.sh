#!/usr/bin/env bash
# Everything that needs a GPU in one call: build, check every kernel and backend, tune, measure. Under eight minutes on an
# H200 with 16 cores, no network; needs torch with CUDA, Triton, nvcc, cmake, pybind11, pytest and hypothesis.
#   bash benchmarks/gpu.sh [FOLDER]     writes gpu.json, configurations.json, registers.txt and the logs to FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-${OUT:-gpu-results}}
python=${PYTHON:-python3}
mkdir -p "$out"
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

"$python" -c 'import sys, torch; torch.cuda.is_available() or sys.exit("gpu.sh: torch sees no CUDA device")'
export PYTHONPATH="$PWD/python${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
step "build"
CMAKE_ARGS="-DMEGASEG_CUDA=ON" "$python" setup.py build_ext --inplace >"$out/build.log" 2>&1 || { tail -30 "$out/build.log"; exit 1; }
step "registers, shared memory and spills of the Triton kernels"
"$python" -m megaseg.kernels.triton.ahead_of_time >"$out/registers.txt" || { tail -40 "$out/registers.txt"; exit 1; }
step "every kernel and backend against float64"
"$python" -m pytest tests/gpu -p no:cacheprovider 2>&1 | tee "$out/tests.log" | tail -25
step "tune"
"$python" -m benchmarks.device.tune "$out/configurations.json" --seconds 15 | tee "$out/tune.log" | grep -v '^  '
cp "$out/configurations.json" kernels/triton/configurations.json
step "measure"
timeout $((470 - SECONDS)) "$python" -m benchmarks gpu --json "$out/gpu.json" || echo "stopped: $out/gpu.json holds what was measured"
step "done"
