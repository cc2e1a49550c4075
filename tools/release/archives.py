"""Wheels and the sdist as files: the same bytes from the same content."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import tarfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_EPOCH = 315532800  # 1980-01-01, the first that a zip file can name


def write_wheel(
    folder: Path, metadata: Mapping[str, bytes], tags: tuple[str, str, Sequence[str]], files: Mapping[str, bytes]
) -> Path:
    """A wheel in ``folder``.

    Args:
        folder: where; its name follows from the rest.
        metadata: files of ``NAME-VERSION.dist-info``: METADATA, licences, entry points.
        tags: of Python, of the ABI, and of platforms.
        files: what is installed, by path in site-packages.
    """
    fields = dict(line.split(": ", 1) for line in metadata["METADATA"].decode().splitlines()[:3])
    name, version = fields["Name"].replace("-", "_"), fields["Version"]
    info = f"{name}-{version}.dist-info"
    content = dict(sorted(files.items())) | {f"{info}/{own}": data for own, data in sorted(metadata.items())}
    content[f"{info}/WHEEL"] = _wheel(tags).encode()
    record = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-{tags[0]}-{tags[1]}-{'.'.join(tags[2])}.whl"
    stamp = time.gmtime(_stamp())[:6]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path, stamp)
            entry.external_attr = (0o100755 if path.endswith(".so") else 0o100644) << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=9)
    return wheel


def settle_sdist(sdist: Path) -> None:
    """Write an sdist anew without what differs between checkouts: times, owners, permissions, order."""
    with tarfile.open(sdist) as archive:
        entries = [(entry, archive.extractfile(entry)) for entry in archive.getmembers()]
        files = {entry.name: (entry.mode, file.read()) for entry, file in entries if file is not None}
    with (
        sdist.open("wb") as plain,
        gzip.GzipFile("", "wb", 9, plain, _stamp()) as packed,
        tarfile.open(mode="w", fileobj=packed) as archive,
    ):
        for name, (mode, data) in sorted(files.items()):
            settled = tarfile.TarInfo(name)
            settled.size, settled.mtime, settled.mode = len(data), _stamp(), 0o755 if mode & 0o100 else 0o644
            archive.addfile(settled, io.BytesIO(data))


def _stamp() -> int:
    return max(_EPOCH, int(os.environ.get("SOURCE_DATE_EPOCH", _EPOCH)))


def _wheel(tags: tuple[str, str, Sequence[str]]) -> str:
    python, abi, platforms = tags
    lines = ["Wheel-Version: 1.0", "Generator: megaseg tools.release", f"Root-Is-Purelib: {str(abi == 'none').lower()}"]
    return "\n".join([*lines, *(f"Tag: {python}-{abi}-{platform}" for platform in platforms), ""])


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
