"""``python -m tools.release wheels|sdist|statements``: what a release consists of, in dist/ (docs/release.md).

``python -m tools.release core`` compiles csrc/core and csrc/cpu for platforms without wheels.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tools.release.archives import settle_sdist
from tools.release.checks import check
from tools.release.platforms import COMPILED, PLATFORMS, ROOT, build_core, build_extensions
from tools.release.pythons import TAGS, copy_headers
from tools.release.statements import write_statements
from tools.release.wheels import Tree


def main() -> None:
    """Do what the arguments name; prints a line a file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("wheels", "sdist", "statements", "core"))
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--platforms", nargs="+", choices=PLATFORMS, default=list(PLATFORMS))
    parser.add_argument("--pythons", nargs="+", choices=TAGS, default=list(TAGS))
    parser.add_argument("--python", action="append", default=[], help="An interpreter, for its headers; repeatable.")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    if arguments.part == "wheels":
        build_wheels(output, arguments.platforms, arguments.pythons, arguments.python)
    elif arguments.part == "sdist":
        subprocess.check_call([sys.executable, "setup.py", "-q", "sdist", "--dist-dir", output], cwd=ROOT)
        settle_sdist(next(output.glob("megaseg-*.tar.gz")))
    elif arguments.part == "core":
        for name, platform in COMPILED.items():
            library = build_core(platform, ROOT / "build" / "wheels" / name)
            print(f"{name}: {library.name}, {library.stat().st_size / 1e6:.2f} MB, not linked or run", flush=True)
    else:
        write_statements(output, *metadata_of(output))


def build_wheels(output: Path, platforms: list[str], pythons: list[str], interpreters: list[str]) -> None:
    """The wheel of the weights, and that of megaseg for each Python on each platform."""
    work = ROOT / "build" / "wheels"
    headers = {tag: copy_headers(tag, work / "headers", interpreters) for tag in pythons}
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder))
    print(check(tree.write_weights(output)), flush=True)
    for name in platforms:
        for tag, extension in build_extensions(PLATFORMS[name], headers, work / name).items():
            print(check(tree.write_megaseg(output, PLATFORMS[name], tag, extension)), flush=True)


def metadata_of(output: Path) -> tuple[str, str]:
    """Version and METADATA of the wheels of megaseg in a folder, which are alike in both.

    Raises:
        SystemExit: there is none.
    """
    wheel = next(output.glob("megaseg-*.whl"), None)
    if wheel is None:
        raise SystemExit(f"{output}: expected wheels: python -m tools.release wheels")
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    found = re.search(r"^Version: (.*)$", metadata, re.MULTILINE)
    assert found is not None
    return found[1], metadata


main()
