"""Two kinds of wheels from one tree: megaseg, one a Python and platform, and megaseg-weights, which has no code."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from tools.release.archives import write_wheel
from tools.release.platforms import ROOT, Platform

WEIGHTS = "megaseg_weights"
_EXTRAS = ("video", "text")  # that need the weights
_LICENCES = "Apache-2.0 AND MIT"
_PYBIND11 = "pybind11.LICENSE"  # BSD asks for its notice beside compiled code; libc++'s exception does not
_DESCRIPTION = """\
Weights that megaseg reads: TransNetV2 (shots), EfficientNet-Lite0 (pictures) and megaseg's own reader of screenplays.
The extras `megaseg[video]` and `megaseg[text]` bring this package; there is no code in it."""


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
        suffix = f".cpython-{tag[2:]}-{platform.suffix}.so" if platform.suffix else ".so"
        files = {path: data for path, data in self.files.items() if not path.startswith(f"{WEIGHTS}/")}
        metadata = {name: data for name, data in self.metadata.items() if name != "top_level.txt"}  # it has the weights
        metadata |= {"METADATA": self._metadata_of_wheel(), f"licenses/{_PYBIND11}": _licence_of("pybind11")}
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
            *("Requires-Python: >=3.10", "Description-Content-Type: text/markdown", "", _DESCRIPTION, ""),
        ]
        metadata = {f"licenses/{name}": data for name, data in licences.items()}
        metadata["METADATA"] = "\n".join(lines).encode()
        return write_wheel(folder, metadata, ("py3", "none", ("any",)), files)

    def _metadata_of_wheel(self) -> bytes:
        """METADATA with the weights in the extras (a clone has them without) and the licence of what is compiled in."""
        head, body = self.metadata["METADATA"].decode().split("\n\n", 1)
        head = head.replace("License-Expression: Apache-2.0", "License-Expression: Apache-2.0 AND BSD-3-Clause")
        head = head.replace("License-File: LICENSE", f"License-File: LICENSE\nLicense-File: {_PYBIND11}")
        required = [f'Requires-Dist: megaseg-weights=={self.version}; extra == "{extra}"' for extra in _EXTRAS]
        return "\n".join([head, *required, "", body]).encode()


def _licence_of(package: str) -> bytes:
    text = distribution(package).read_text("licenses/LICENSE")
    assert text is not None
    return text.encode()


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
