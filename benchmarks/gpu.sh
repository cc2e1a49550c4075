#!/usr/bin/env bash
# Everything that needs a GPU in one call: build, check every kernel and backend, tune, measure. Meant for under eight
# minutes on an H200 with 16 cores; no network. Needs torch with CUDA, Triton, nvcc, cmake, pybind11, pytest, hypothesis.
#   bash benchmarks/gpu.sh [FOLDER]     writes gpu.json, configurations.json, registers.txt and the logs to FOLDER
# A check that fails does not keep the rest from being measured, but the script then ends with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-${OUT:-gpu-results}}
python=${PYTHON:-python3}
failed=()
mkdir -p "$out"
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

"$python" -c 'import sys, torch; torch.cuda.is_available() or sys.exit("gpu.sh: torch sees no CUDA device")'
export PYTHONPATH="$PWD/python${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
unset TRITON_INTERPRET
step "build, and beside it registers, shared memory and spills of the Triton kernels"
"$python" -m megaseg.kernels.triton.ahead_of_time >"$out/registers.txt" 2>&1 &
registers=$!
CMAKE_ARGS="-DMEGASEG_CUDA=ON" "$python" setup.py build_ext --inplace >"$out/build.log" 2>&1 || { tail -30 "$out/build.log"; exit 1; }
step "every kernel and backend against float64"
# Other versions than the pinned ones may warn of what is to come: that is no failure here.
# What needs no GPU is left to CI.
checks=(-m pytest tests/gpu -m '' -p no:cacheprovider -o filterwarnings=default
        --ignore tests/gpu/test_ahead_of_time.py --ignore tests/gpu/test_cuda_sources.py)
! "$python" -c 'import xdist' 2>/dev/null || checks+=(-n 8)  # most of the time goes into compiling kernels
timeout 180 "$python" "${checks[@]}" >"$out/tests.log" 2>&1 || failed+=(tests)
tail -25 "$out/tests.log"
wait "$registers" || { tail -40 "$out/registers.txt"; failed+=(registers); }
step "tune"
timeout 150 "$python" -m benchmarks.device.tune "$out/configurations.json" --seconds 12 >"$out/tune.log" 2>&1 || failed+=(tune)
grep -v '^  ' "$out/tune.log" || true
[ ! -s "$out/configurations.json" ] || cp "$out/configurations.json" kernels/triton/configurations.json
step "measure"
left=$((470 - SECONDS))
timeout $((left > 60 ? left : 60)) "$python" -m benchmarks gpu --json "$out/gpu.json" || failed+=(measure)
step "done"
[ ${#failed[@]} -eq 0 ] || { echo "not whole: ${failed[*]}; $out holds what there is"; exit 1; }
