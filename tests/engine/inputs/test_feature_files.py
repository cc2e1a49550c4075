"""Feature files as bytes from anywhere: what they say they unpack to is checked before they are unpacked."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from support import random_features, small_config

from megaseg.engine.inputs.feature_files import load_features, read_features, save_features
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError, ResourceLimitError


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    times = np.stack([np.arange(9), np.arange(1, 10)], axis=1)
    return {**random_features(small_config(), 9), "times": times, "time_base": np.array([1, 24])}


def expect_same(one: Features, other: Features) -> None:
    assert one.modalities.keys() == other.modalities.keys()
    for name in one.modalities:
        np.testing.assert_array_equal(one.modalities[name], other.modalities[name], strict=True)
    np.testing.assert_array_equal(one.times, other.times)
    assert (one.time_base, one.recipe) == (other.time_base, other.recipe)


def test_bytes_are_read_as_their_file_is(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    save_features(tmp_path / "a.npz", Features.from_mapping({**arrays, "recipe": "shots/1"}))
    safetensors.numpy.save_file(arrays, tmp_path / "b.safetensors", {"recipe": "shots/1"})
    for file in tmp_path.iterdir():
        expect_same(read_features(file.read_bytes()), load_features(file))
        assert read_features(file.read_bytes()).recipe == "shots/1"


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = npz(clip=np.zeros((1 << 20, 16), np.float32))
    assert len(bomb) < 1 << 20
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("a member was unpacked"))
    with pytest.raises(ResourceLimitError, match=r"body: .* up to 1048576 bytes, got 67\d{6}"):
        read_features(bomb, "body", max_bytes=1 << 20)


def test_an_archive_that_lies_about_its_size_gets_no_further_than_that() -> None:
    data = bytearray(npz(clip=np.zeros((1 << 16, 16), np.float32)))
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", data, data.index(signature) + offset, 100)
    with pytest.raises(FeatureError, match="features: expected the bytes"):
        read_features(bytes(data), max_bytes=1 << 20)


def test_an_array_that_lies_about_its_shape_is_refused() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50, 4)})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("clip.npy", header.getvalue() + bytes(1000))
    with pytest.raises(FeatureError, match="expected the bytes"):
        read_features(archive.getvalue(), max_bytes=1 << 20)


def test_what_is_no_feature_file_is_refused(arrays: dict[str, np.ndarray]) -> None:
    whole, tensors = npz(**arrays), safetensors.numpy.save(arrays)
    objects = npz(clip=np.array([{}, {}], dtype=object))  # a pickle inside
    for data in (b"", b"PK\x03\x04", b"x" * 100, whole[:-30], whole[:40], tensors[:60], b"\xff" * 64, objects, npz()):
        with pytest.raises(FeatureError, match="upload"):
            read_features(data, "upload")
