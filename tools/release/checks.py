"""What a wheel must keep to run where its name says; none of these checks runs it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MOST = 6_000_000  # bytes of a wheel of megaseg


def check(wheel: Path) -> str:
    """A line on the wheel: its size, and what its extension asks of the system.

    Raises:
        SystemExit: the wheel is too large, or asks for more than its name says.
    """
    size = wheel.stat().st_size
    if wheel.name.startswith("megaseg-") and size >= MOST:
        raise SystemExit(f"{wheel.name}: expected under {MOST:,} bytes, got {size:,}")
    inspect = {"many": _elf, "musl": _musl, "maco": _mach_o}.get(wheel.stem.split("-")[-1][:4])
    asks = inspect(wheel) if inspect else "no code"
    return f"{wheel.name}: {size / 1e6:.2f} MB, {asks}"


def _elf(wheel: Path) -> str:
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r'consistent with the\s+following platform tag:\s+"([a-z0-9_]+)"', shown)
    if found is None or found[1] not in wheel.name:
        raise SystemExit(f"{wheel.name}: auditwheel expected one of its tags, got {shown}")
    return f"auditwheel: {found[1]}"


def _musl(wheel: Path) -> str:
    """auditwheel knows musl's policies on musl alone."""
    from elftools.elf.elffile import ELFFile

    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        (extension,) = (name for name in archive.namelist() if name.endswith(".so"))
        with open(archive.extract(extension, folder), "rb") as file:
            tags = ELFFile(file).get_section_by_name(".dynamic").iter_tags("DT_NEEDED")
            needed = [tag.needed for tag in tags]
    if needed != ["libc.so"]:
        raise SystemExit(f"{wheel.name}: expected musl's libc.so alone, got {needed}")
    return f"musl, {needed[0]}"


def _mach_o(wheel: Path) -> str:
    from macholib.mach_o import LC_BUILD_VERSION, LC_CODE_SIGNATURE
    from macholib.MachO import MachO

    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        (extension,) = (name for name in archive.namelist() if name.endswith(".so"))
        (header,) = MachO(archive.extract(extension, folder)).headers
        needed = [name for _, _, name in header.walkRelocatables()]
        versions = [command.minos for load, command, _ in header.commands if load.cmd == LC_BUILD_VERSION]
        signed = any(load.cmd == LC_CODE_SIGNATURE for load, _, _ in header.commands)
    least = [f"{version >> 16}.{version >> 8 & 255}" for version in map(int, versions)]
    if needed != ["/usr/lib/libSystem.B.dylib"] or f"macosx_{least[0].replace('.', '_')}_" not in wheel.name:
        raise SystemExit(f"{wheel.name}: expected libSystem alone and its own least version, got {needed}, {least}")
    if wheel.stem.endswith("arm64") and not signed:
        raise SystemExit(f"{wheel.name}: expected an ad-hoc signature, without which Apple silicon loads nothing")
    return f"macOS {least[0]} or later, {needed[0]}"
