"""Feature files as bytes from anywhere: what they say they unpack to is checked before they are unpacked."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from fractions import Fraction
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


def both(data: bytes, path: Path) -> list[str]:
    """What is said of a file, and of its bytes."""
    path.write_bytes(data)
    messages = []
    for read in (lambda: load_features(path), lambda: read_features(data, str(path))):
        with pytest.raises(FeatureError) as error:
            read()
        messages.append(str(error.value).removeprefix(f"{path}: "))
        assert str(error.value) != messages[-1]
    return messages


def header(entries: str, values: int) -> bytes:
    """A safetensors file of a header as written."""
    return struct.pack("<Q", len(entries)) + entries.encode() + bytes(values)


def test_a_type_that_numpy_does_not_have_is_named(tmp_path: Path) -> None:
    for kind, size, name in (("BF16", 2, "bfloat16"), ("F8_E4M3", 1, "F8_E4M3")):
        text = f'{{"clip":{{"dtype":"{kind}","shape":[3,2],"data_offsets":[0,{6 * size}]}}}}'
        expected = f"clip: expected float32 or float16, got {name}; save it as float32"
        assert both(header(text, 6 * size), tmp_path / "a.safetensors") == [expected] * 2


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("clip.npy", "audio.npy", "clip.npy"):
            member = io.BytesIO()
            np.save(member, np.ones((3, 2), np.float32))
            file.writestr(name, member.getvalue())
    expected = "clip: expected one array of this name, got two in the archive"
    assert both(archive.getvalue(), tmp_path / "a.npz") == [expected] * 2
    entry = '"clip":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}'
    expected = "clip: expected one array of this name, got two in the header"
    assert both(header(f"{{{entry},{entry}}}", 24), tmp_path / "a.safetensors") == [expected] * 2


def test_an_array_of_objects_is_named(tmp_path: Path) -> None:
    data = npz(clip=np.ones((3, 2), np.float32), audio=np.array([None, 1], object))
    for message in both(data, tmp_path / "a.npz"):
        assert message.startswith("audio: expected an array of numbers, got: Object arrays cannot be loaded")


@pytest.mark.parametrize("base", ["1/24", b"1/24", ["1/24"], "0.5"])
def test_a_time_base_may_be_text(arrays: dict[str, np.ndarray], tmp_path: Path, base: Any) -> None:
    data = npz(**{**arrays, "time_base": np.array(base), "recipe": np.array(["shots/1"])})
    expected = Fraction(1, 2) if base == "0.5" else Fraction(1, 24)
    features = read_features(data)
    assert (features.time_base, features.recipe) == (expected, "shots/1")
    del arrays["time_base"]
    safetensors.numpy.save_file(arrays, tmp_path / "A.SAFETENSORS", {"time_base": "1/24"})
    for read in (load_features(tmp_path / "A.SAFETENSORS"), read_features((tmp_path / "A.SAFETENSORS").read_bytes())):
        assert read.time_base == Fraction(1, 24)
    with pytest.raises(FeatureError, match="time_base: expected"):
        read_features(npz(**{**arrays, "time_base": np.array("soon")}))
