#!/usr/bin/env bash
# try_wheel.sh PYTHON WHEEL...: in an environment of its own and without a compiler, features of the sample become scenes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=$1
shift
"$python" -m venv "$folder/venv"
mkdir "$folder/bin"  # all that PATH has
cd "$folder"
export PATH=$folder/venv/bin:$folder/bin MEGASEG_CACHE=$folder/cache
unset PYTHONPATH
pip install --quiet --disable-pip-version-check --only-binary :all: "$@"
python -c 'from megaseg import _C; assert len(_C.available_targets()) > 1, _C.available_targets(); print(_C.target())'
megaseg segment sample --output scenes.json >/dev/null
python -c 'import json; assert json.load(open("scenes.json"))["tracks"], "no tracks"; print("segment sample: as it should be")'
