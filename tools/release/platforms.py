"""Platforms of the wheels, and the build of their extensions by zig's clang, which brings every C library."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Platform:
    """One operating system, C library and processor."""

    name: str
    zig: str  # zig's name of it, with the oldest version that the wheel must run on
    system: str  # CMake's names
    processor: str
    suffix: str  # of an extension's file, after that of its Python; "" is .so alone: of musl, Python 3.10 says gnu
    tags: tuple[str, ...]  # the wheel's, all of which it has


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform(
            *("linux-x86_64", "x86_64-linux-gnu.2.17", "Linux", "x86_64", "x86_64-linux-gnu"),
            ("manylinux_2_17_x86_64", "manylinux2014_x86_64"),
        ),
        Platform(
            *("linux-aarch64", "aarch64-linux-gnu.2.17", "Linux", "aarch64", "aarch64-linux-gnu"),
            ("manylinux_2_17_aarch64", "manylinux2014_aarch64"),
        ),
        Platform(
            *("linux-musl-x86_64", "x86_64-linux-musl", "Linux", "x86_64", ""),
            ("musllinux_1_2_x86_64",),
        ),
        Platform(
            *("linux-musl-aarch64", "aarch64-linux-musl", "Linux", "aarch64", ""),
            ("musllinux_1_2_aarch64",),
        ),
        Platform("macos-arm64", "aarch64-macos.11.0", "Darwin", "arm64", "darwin", ("macosx_11_0_arm64",)),
        Platform("macos-x86_64", "x86_64-macos.11.0", "Darwin", "x86_64", "darwin", ("macosx_11_0_x86_64",)),
    )
}


# csrc/core and csrc/cpu compile for these; no wheel is made.
COMPILED = {"windows-x86_64": Platform("windows-x86_64", "x86_64-windows-gnu", "Windows", "AMD64", "", ())}


def build_extensions(platform: Platform, headers: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """The extension of each Python by its tag; csrc/core and csrc/cpu are compiled once.

    Raises:
        subprocess.CalledProcessError: a build that failed, which has printed why.
    """
    import pybind11

    _build(
        platform,
        folder,
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DMEGASEG_OUTPUT_DIR={folder}",
        "-DMEGASEG_WHEELS=" + ";".join(f"{tag}={path}" for tag, path in headers.items()),
    )
    return {tag: folder / f"{tag}.so" for tag in headers}


def build_core(platform: Platform, folder: Path) -> Path:
    """The static library of csrc/core and csrc/cpu.

    Raises:
        subprocess.CalledProcessError: a build that failed, which has printed why.
    """
    _build(platform, folder, "-DMEGASEG_TESTS=OFF", target="megaseg_core")
    return folder / "build" / "libmegaseg_core.a"


def _build(platform: Platform, folder: Path, *options: str, target: str = "all") -> None:
    import ziglang

    zig = Path(ziglang.__file__).with_name("zig")
    folder.mkdir(parents=True, exist_ok=True)
    commands = {"c++": f"c++ -target {platform.zig} -g0", "ar": "ar", "ranlib": "ranlib"}
    tools = {name: _write_tool(folder / name, f"'{zig}' {command}") for name, command in commands.items()}
    programs = Path(sys.executable).parent  # of requirements.txt
    subprocess.check_call(
        [
            *(programs / "cmake", "-S", ROOT, "-B", folder / "build", "-G", "Ninja"),
            f"-DCMAKE_MAKE_PROGRAM={programs / 'ninja'}",
            *(f"-DCMAKE_SYSTEM_NAME={platform.system}", f"-DCMAKE_SYSTEM_PROCESSOR={platform.processor}"),
            *(f"-DCMAKE_CXX_COMPILER={tools['c++']}", f"-DCMAKE_AR={tools['ar']}", f"-DCMAKE_RANLIB={tools['ranlib']}"),
            "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",  # nothing is linked before there is something to link
            *options,
            *os.environ.get("CMAKE_ARGS", "").split(),
        ]
    )
    parallel = str(os.cpu_count() or 1)
    subprocess.check_call([programs / "cmake", "--build", folder / "build", "--target", target, "--parallel", parallel])


def _write_tool(path: Path, command: str) -> Path:
    """A program of one word, which is what CMake asks for."""
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path
