# abi.sh LIBRARY NM: the library exports the functions of abi.cpp, where their types are, under the SONAME they belong to.
set -eu
diff <(sed -n 's/^HOLD(\(megaseg_[a-z_]*\),.*/\1/p' "$(dirname "$0")/abi.cpp" | LC_ALL=C sort) \
    <("$2" -D --defined-only "$1" | sed 's/^[0-9a-f]* . //' | LC_ALL=C sort)
grep -aq 'libmegaseg\.so\.0' "$1" || { echo "$1: expected the SONAME libmegaseg.so.0"; exit 1; }
