# abi.sh LIBRARY NM: the names and the SONAME that programs were linked to. A name that goes or changes needs a new
# SOVERSION; a new one is added to abi.txt.
set -eu
folder=$(dirname "$0")
"$2" -D --defined-only "$1" | sed 's/^[0-9a-f]* . //' | LC_ALL=C sort | diff "$folder/abi.txt" -
grep -aq 'libmegaseg\.so\.0' "$1"
