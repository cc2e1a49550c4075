"""Builds megaseg._C with CMake; everything else about the package is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def starts(program: str) -> bool:
    """Whether a program is there and runs: a virtual environment's own cmake does not in pip's isolated builds."""
    return bool(shutil.which(program)) and subprocess.run([program, "--version"], capture_output=True).returncode == 0


def require_package_links() -> None:
    """engine/ and kernels/ join the package through links, which some checkouts turn into small text files."""
    for name in ("engine", "kernels"):
        if not (ROOT / "python" / "megaseg" / name / "__init__.py").is_file():
            raise SystemExit(
                f"python/megaseg/{name} must be a symbolic link to ../../{name}, and is not. Restore it with\n"
                f"  git config core.symlinks true && git checkout -- python/megaseg/{name}"
            )


class CMakeBuild(build_ext):
    """Configures once per interpreter in build/<tag> and rebuilds only what changed."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        target_dir = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build_dir = ROOT / "build" / str(sys.implementation.cache_tag)
        # By its path: the last build's ninja may have been in an environment of pip's that is gone.
        generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}"] if starts("ninja") else []
        configure = [
            *["cmake", "-S", ROOT, "-B", build_dir, *generator],
            *[f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"],
            *["-DMEGASEG_PYTHON=ON", f"-DMEGASEG_OUTPUT_DIR={target_dir}"],
            *os.environ.get("CMAKE_ARGS", "").split(),
        ]
        try:
            subprocess.check_call(configure)
            subprocess.check_call(["cmake", "--build", build_dir, "--parallel", str(os.cpu_count() or 1)])
        except subprocess.CalledProcessError:
            raise SystemExit("megaseg._C was not built: cmake says why above. It needs a C++20 compiler") from None


require_package_links()
setup(
    ext_modules=[Extension("megaseg._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
    setup_requires=[] if starts("cmake") else ["cmake>=3.18", "ninja"],
)
