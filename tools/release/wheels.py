"""Two kinds of wheels from one tree: megaseg, one a Python and platform, and megaseg-weights, which has no code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.release.archives import write_wheel
from tools.release.platforms import ROOT, Platform

WEIGHTS = "megaseg_weights"
_EXTRAS = ("video", "text")  # that need the weights
_LICENCES = "Apache-2.0 AND MIT"


class Tree:
    """What every wheel shares, as setuptools collects it: ``files`` by path in site-packages, ``metadata`` by name."""

    def __init__(self, work: Path) -> None:
        for command in (("build_py", "--build-lib", work / "lib"), ("dist_info", "--output-dir", work)):
            subprocess.check_call([sys.executable, "setup.py", "-q", *map(str, command)], cwd=ROOT)
        (info,) = work.glob("megaseg-*.dist-info")
        self.files = _contents(work / "lib")
        self.metadata = _contents(info)
        self.version = info.name.removesuffix(".dist-info").split("-")[1]

    def write_megaseg(self, folder: Path, platform: Platform, tag: str, extension: Path) -> Path:
        """The wheel of one Python (``tag`` is that of its ABI) and platform."""
        suffix = f".cpython-{tag[2:]}-{platform.suffix}.so"
        files = {path: data for path, data in self.files.items() if not path.startswith(f"{WEIGHTS}/")}
        metadata = dict(self.metadata, METADATA=self._with_weights_required())
        extra = {f"megaseg/_C{suffix}": extension.read_bytes()}
        return write_wheel(folder, metadata, (tag.rstrip("t"), tag, platform.tags), files | extra)

    def write_weights(self, folder: Path) -> Path:
        """The wheel of the weights, for every Python and platform."""
        files = {path: data for path, data in self.files.items() if path.startswith(f"{WEIGHTS}/")}
        licences = {Path(path).name: data for path, data in files.items() if path.endswith(".LICENSE")}
        licences |= {"LICENSE": self.metadata["licenses/LICENSE"]}
        lines = [
            *("Metadata-Version: 2.4", "Name: megaseg-weights", f"Version: {self.version}"),
            "Summary: Networks that megaseg measures films and screenplays with",
            f"License-Expression: {_LICENCES}",
            *(f"License-File: {name}" for name in sorted(licences)),
            *("Requires-Python: >=3.10", "", ""),
        ]
        metadata = {f"licenses/{name}": data for name, data in licences.items()}
        metadata["METADATA"] = "\n".join(lines).encode()
        return write_wheel(folder, metadata, ("py3", "none", ("any",)), files)

    def _with_weights_required(self) -> bytes:
        """METADATA whose extras bring the weights; in a clone they are there without."""
        head, body = self.metadata["METADATA"].decode().split("\n\n", 1)
        required = [f'Requires-Dist: megaseg-weights=={self.version}; extra == "{extra}"' for extra in _EXTRAS]
        return "\n".join([head, *required, "", body]).encode()


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
