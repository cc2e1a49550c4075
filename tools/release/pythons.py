"""Headers of the Pythons that wheels are built for, from interpreters of this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

TAGS = ("cp310", "cp311", "cp312", "cp313", "cp314", "cp314t")
_ASK = """
import json, struct, sys, sysconfig
print(json.dumps({
    "tag": "cp%d%d" % sys.version_info[:2] + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "include": sysconfig.get_path("include"), "multiarch": sysconfig.get_config_var("MULTIARCH") or "",
    "fits": struct.calcsize("P") == 8 and sys.platform == "linux" and sys.implementation.name == "cpython",
}))
"""


def copy_headers(tag: str, folder: Path, interpreters: Sequence[str] = ()) -> Path:
    """A folder with Python.h and the rest; ``interpreters`` are tried before those on PATH, of pyenv and of uv.

    CPython's headers are the same for every platform but for pyconfig.h, which describes the compiler's types and the
    C library; that of 64-bit Linux is taken for all, and layout.cpp checks what it says of types. Free-threaded builds
    differ from others in the macro Py_GIL_DISABLED alone, which extensions.cmake defines.

    Raises:
        SystemExit: no such Python, one without its headers, or a file in ``interpreters`` that is none.
    """
    for wanted in (tag, tag.rstrip("t")):
        for interpreter in (*interpreters, *_candidates(wanted)):
            told = _ask(interpreter)
            if told is None and interpreter in interpreters:
                raise SystemExit(f"{interpreter}: expected a Python, got none that runs")
            if told is None or told["tag"] != wanted or not told["fits"]:
                continue
            if not (Path(told["include"]) / "Python.h").is_file():
                raise SystemExit(
                    f"{interpreter}: expected Python.h in {told['include']}: install its development files"
                )
            return _copied(Path(told["include"]), told["multiarch"], folder / tag)
    version = f"3.{tag[3:]}"
    raise SystemExit(f"{tag}: expected python{version} on PATH (uv python install {version}), or --python FILE")


def _copied(include: Path, multiarch: str, target: Path) -> Path:
    shutil.copytree(include, target, dirs_exist_ok=True)
    of_machine = include.parent / multiarch / include.name / "pyconfig.h"  # Debian's, which pyconfig.h only includes
    if of_machine.is_file():
        shutil.copy2(of_machine, target / "pyconfig.h")
    return target


def _candidates(tag: str) -> Iterator[str]:
    version = f"3.{tag[3:]}"
    if found := shutil.which(f"python{version}"):
        yield found
    number, free = version.rstrip("t"), "t" * version.endswith("t")
    yield from map(str, sorted((Path.home() / ".pyenv" / "versions").glob(f"{number}.*[0-9]{free}/bin/python")))
    if shutil.which("uv"):
        done = subprocess.run(["uv", "python", "find", version], capture_output=True, text=True, check=False)
        yield from done.stdout.splitlines()


def _ask(interpreter: str) -> dict[str, str] | None:
    try:
        done = subprocess.run([interpreter, "-I", "-c", _ASK], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, json.JSONDecodeError):
        return None
