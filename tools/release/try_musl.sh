#!/usr/bin/env bash
# try_musl.sh PYTHON: the thread pool's test on musl, with stacks as small as its threads have; PYTHON has ziglang.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(mktemp)
trap 'rm -f "$program"' EXIT
"$1" -m ziglang c++ -target x86_64-linux-musl -static -std=c++20 -O1 -Wl,-z,stack-size=131072 -Icsrc -Itests/cpp \
    tests/cpp/test_thread_pool.cpp csrc/core/platform/{thread_pool,system_linux,system_posix}.cpp -o "$program"
"$program"
