#!/usr/bin/env bash
# try_wheel.sh PYTHON WHEEL...: in an environment of its own and without a compiler, the sample's features become scenes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" -m venv "$folder/venv"
unset PYTHONPATH
export MEGASEG_CACHE=$folder/cache
bin=$folder/venv/bin
PATH=$bin "$bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "${@:2}"
cd "$folder"
PATH=$bin "$bin/python" -c 'from megaseg import _C; assert len(_C.available_targets()) > 1, "portable alone"; print(_C.target())'
PATH=$bin "$bin/megaseg" segment sample --output scenes.json >/dev/null
PATH=$bin "$bin/python" -c 'import json; assert json.load(open("scenes.json"))["tracks"]; print("segment sample: ok")'
