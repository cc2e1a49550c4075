"""Compiled models: the same answers as the checkpoint, found again in the cache, and refused when anything is off."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import run_altered
from support import random_checkpoint, random_features, small_config

from megaseg import _C, Engine, save_checkpoint
from megaseg.engine.backends.native import artefact
from megaseg.engine.backends.native.artefact import compile_checkpoint, is_artefact, read_info
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import CheckpointError, UnsupportedError

FEATURES = random_features(small_config(), 30)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.mseg"
    compile_checkpoint(random_checkpoint(small_config(threshold=0.3)), path, compute_type="float32")
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEGASEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("compute_type", _C.compute_types())
@pytest.mark.parametrize("task", ["scene", "act", "synopsis"])
def test_a_compiled_model_answers_as_its_checkpoint(tmp_path: Path, task: str, compute_type: str) -> None:
    checkpoint = random_checkpoint(small_config(task, threshold=0.3))
    path = tmp_path / "model.mseg"
    info = compile_checkpoint(checkpoint, path, compute_type=compute_type)
    assert is_artefact(path)
    assert read_info(path) == info
    compiled = Engine.from_checkpoint(path)
    assert compiled.config == checkpoint.config
    assert compiled.describe()["compute_type"] == compute_type
    direct = Engine.from_checkpoint(checkpoint, compute_type=compute_type)
    assert np.array_equal(compiled.logits(FEATURES), direct.logits(FEATURES))


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.mseg", "b.mseg")]
    for path in paths:
        compile_checkpoint(random_checkpoint(small_config()), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_auto_is_bfloat16_where_it_is_fast_and_never_int8(tmp_path: Path) -> None:
    for target in _C.available_targets():
        info = compile_checkpoint(random_checkpoint(small_config()), tmp_path / "m.mseg", target=target)
        assert info.compute_type == ("bfloat16" if "bfloat16" in _C.compute_types(target) else "float32")
    with pytest.raises(UnsupportedError, match="compute_type 'bfloat16': CPU target 'portable' supports float32"):
        compile_checkpoint(
            random_checkpoint(small_config()), tmp_path / "m.mseg", target="portable", compute_type="bfloat16"
        )


def test_a_checkpoint_is_compiled_once(scene_checkpoint: Path, cache: Path) -> None:
    first = Engine.from_checkpoint(scene_checkpoint, compute_type="float32")
    (kept,) = cache.iterdir()
    assert first.describe()["artefact"] == str(kept)
    written = kept.stat().st_mtime_ns
    again = Engine.from_checkpoint(scene_checkpoint, compute_type="float32")
    assert kept.stat().st_mtime_ns == written
    assert np.array_equal(first.logits(FEATURES), again.logits(FEATURES))
    Engine.from_checkpoint(scene_checkpoint, compute_type="float32", passes=False)
    assert len(list(cache.iterdir())) == 2
    save_checkpoint(scene_checkpoint, random_checkpoint(small_config(), seed=1))
    changed = Engine.from_checkpoint(scene_checkpoint, compute_type="float32")
    assert len(list(cache.iterdir())) == 3
    assert not np.array_equal(changed.logits(FEATURES), first.logits(FEATURES))


def test_engines_made_at_once_compile_once(
    scene_checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, start = [], threading.Barrier(4)
    monkeypatch.setattr(artefact, "compile_checkpoint", lambda *a, **k: calls.append(a) or compile_checkpoint(*a, **k))

    def make() -> str:
        start.wait()
        return str(Engine.from_checkpoint(scene_checkpoint).describe()["artefact"])

    with ThreadPoolExecutor(4) as threads:
        made = {future.result() for future in [threads.submit(make) for _ in range(4)]}
    assert len(calls) == 1
    assert made == {str(path) for path in cache.iterdir()}


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "version"])
def test_a_damaged_cache_is_compiled_again(scene_checkpoint: Path, cache: Path, damage: str) -> None:
    expected = Engine.from_checkpoint(scene_checkpoint).logits(FEATURES)
    (kept,) = cache.iterdir()
    good = kept.read_bytes()
    kept.write_bytes(damaged(good, damage))
    assert np.array_equal(Engine.from_checkpoint(scene_checkpoint).logits(FEATURES), expected)
    assert kept.read_bytes() == good


def damaged(data: bytes, damage: str) -> bytes:
    if damage in ("truncated", "empty"):
        return data[: len(data) // 2 if damage == "truncated" else 0]
    changed = bytearray(data)
    changed[8 if damage == "version" else -1000] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "expected .* bytes, got .* not whole"),
        ("empty", "expected"),
        ("flipped", "the checksum does not fit: corrupt file"),
        ("version", "expected artefact version 7, got 6; compile the checkpoint again"),
    ],
)
def test_a_damaged_file_is_refused(model: Path, damage: str, message: str) -> None:
    model.write_bytes(damaged(model.read_bytes(), damage))
    with pytest.raises(CheckpointError, match=message) as caught:
        Engine.from_checkpoint(model)
    assert str(model) in str(caught.value)


def test_every_flipped_byte_is_noticed(model: Path) -> None:
    good = model.read_bytes()
    rng = np.random.default_rng()
    for at in [*range(0, 72, 3), *rng.integers(len(good), size=200)]:
        changed = bytearray(good)
        changed[at] ^= 1 << int(rng.integers(8))
        model.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError):
            Engine.from_checkpoint(model)


@pytest.mark.parametrize("task", ["scene", "act"])
def test_a_program_of_nonsense_with_the_right_checksum_never_crashes(tmp_path: Path, task: str) -> None:
    path = tmp_path / "model.mseg"
    compile_checkpoint(random_checkpoint(small_config(task, num_unimodal_layers=2)), path)
    features = "[np.ones((30, 13), np.float32), np.ones((30, 7), np.float32)]"
    ran, refused = run_altered(path, features, ["logits", "logits.parts"])
    assert ran + refused == 400
    assert refused > 100


def test_a_file_for_another_target_is_refused_with_what_is_here(model: Path) -> None:
    target = read_info(model).target.encode()
    program_with(model, target, b"z" * len(target))
    with pytest.raises(UnsupportedError, match=r"compiled for target z+; this machine and build offer portable"):
        Engine.from_checkpoint(model)


def program_with(model: Path, old: bytes, new: bytes) -> None:
    """Write another text of the same length into the program and the metadata, under the right checksum."""
    assert len(old) == len(new)
    data = model.read_bytes()
    offset, size = (int.from_bytes(data[i : i + 8], "little") for i in (40, 48))
    program = data[offset : offset + size]
    assert old in program
    model.write_bytes(data[:offset] + program.replace(old, new) + data[offset + size :])
    _C.seal_artefact(str(model))


BAD_TEXTS = [
    pytest.param(text, id=name)
    for name, text in {
        "escape": b"\x1b[2J",
        "bell": b"\x07abc",
        "delete": b"\x7fabc",
        "zero": b"\0\0\0\0",
        "space": b"a bc",
        "markup": b"[b]a",
        "no utf-8": b"\xff\xfe\xff\xfe",
        "cut": b"abc\xc3",
        "overlong": b"\xc0\x80ab",
        "overlong in three": b"\xe0\x80\x80a",
        "surrogate": b"\xed\xa0\x80a",
        "beyond unicode": b"\xf4\x90\x80\x80",
        "five bytes": b"\xf8\x88\x80\x80",
        "control of c1": "\x9b2J".encode(),
        "right to left": "\u202ea".encode(),
        "zero width": "\u200ba".encode(),
        "byte order mark": "\ufeffa".encode(),
    }.items()
]


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize("which", ["target", "name of an input"])
def test_texts_of_a_program_that_are_no_names_are_refused_and_not_repeated(
    tmp_path: Path, text: bytes, which: str
) -> None:
    path = tmp_path / "model.mseg"
    target = "avx2" if "avx2" in _C.available_targets() else "portable"
    compile_checkpoint(random_checkpoint(small_config()), path, target=target)
    old = target.encode() if which == "target" else b"clip"
    program_with(path, old, text + old[len(text) :])
    with pytest.raises(CheckpointError, match=f"program: {which}: expected letters, digits, - and _") as caught:
        Engine.from_checkpoint(path)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_a_modality_may_be_named_in_any_script(tmp_path: Path) -> None:
    names = ("größe", "音声", "звук", "𝒳", "x-1_²")
    config = small_config(modalities=tuple(Modality(name, 3) for name in names))
    compile_checkpoint(random_checkpoint(config), tmp_path / "model.mseg")
    assert [m.name for m in Engine.from_checkpoint(tmp_path / "model.mseg").config.modalities] == list(names)


def test_a_target_has_a_name_in_ascii(model: Path) -> None:
    target = read_info(model).target.encode()
    program_with(model, target, "é".encode() + b"a" * (len(target) - 2))
    with pytest.raises(CheckpointError, match="program: target: expected letters"):
        Engine.from_checkpoint(model)


def with_metadata(model: Path, metadata: bytes) -> None:
    """Append other metadata to a compiled model, under the right checksum."""
    data = bytearray(model.read_bytes())
    struct.pack_into("<QQQ", data, 16, len(data) + len(metadata), len(data), len(metadata))
    model.write_bytes(data + metadata)
    _C.seal_artefact(str(model))


@pytest.mark.parametrize(
    "change",
    [
        lambda said: b"",
        lambda said: b"{",
        lambda said: b"[" * 100_000,
        lambda said: b"\xff\xfe{}",
        lambda said: json.dumps([said]).encode(),
        lambda said: b'{"config": ' + b"[" * 900 + b"]" * 900 + b"}",
        lambda said: b'{"config": {"task": ' + b"[" * 900 + b"]" * 900 + b"}}",
        lambda said: b'{"config": ' + b"9" * 5000 + b"}",
        lambda said: json.dumps({**said, "config": None}).encode(),
        lambda said: json.dumps({**said, "config": [1]}).encode(),
        lambda said: json.dumps({**said, "config": {**said["config"], "hidden_size": "\x1b[2J"}}).encode(),
        lambda said: json.dumps({**said, "config": {**said["config"], "max_length": 7}}).encode(),
        lambda said: json.dumps({**said, "config": {**said["config"], "task": "act"}}).encode(),
        lambda said: json.dumps({**said, "target": "\x1b[2J"}).encode(),
        lambda said: json.dumps({**said, "target": "other"}).encode(),
        lambda said: json.dumps({**said, "target": 3}).encode(),
        lambda said: json.dumps({**said, "target": "\ud800"}).encode(),
        lambda said: json.dumps({**said, "compute_type": "\x07"}).encode(),
        lambda said: json.dumps({**said, "passes": ["\x1b[2J"]}).encode(),
        lambda said: json.dumps({**said, "passes": 3}).encode(),
        lambda said: json.dumps({**said, "passes": [{}]}).encode(),
        lambda said: json.dumps({**said, "metadata": 3}).encode(),
        lambda said: json.dumps({**said, "metadata": {"training": 3}}).encode(),
    ],
)
def test_metadata_of_nonsense_is_a_checkpoint_error(model: Path, change: Callable[[dict[str, Any]], bytes]) -> None:
    data = model.read_bytes()
    offset, size = (int.from_bytes(data[i : i + 8], "little") for i in (24, 32))
    with_metadata(model, change(json.loads(data[offset : offset + size])))
    with pytest.raises(CheckpointError, match=r"model\.mseg: expected") as caught:
        Engine.from_checkpoint(model)
    assert str(caught.value).isprintable()
    with suppress(CheckpointError):  # not all of it can be seen without the program
        read_info(model)


@pytest.mark.parametrize(("at", "value"), [(24, 2**63), (24, 2**64 - 1), (32, 2**62), (32, 2**64 - 1)])
def test_metadata_beyond_the_file_is_refused(model: Path, at: int, value: int) -> None:
    data = bytearray(model.read_bytes())
    data[at : at + 8] = value.to_bytes(8, "little")
    model.write_bytes(data)
    with pytest.raises(CheckpointError, match="expected a whole compiled model, got metadata beyond"):
        read_info(model)


def test_options_that_a_compiled_model_cannot_change(model: Path) -> None:
    with pytest.raises(
        UnsupportedError, match="compute_type of .*model.mseg: expected one of auto, float32, got 'int8'"
    ):
        Engine.from_checkpoint(model, compute_type="int8")
    with pytest.raises(UnsupportedError, match="backend of .*: expected one of auto, native"):
        Engine.from_checkpoint(model, backend="torch")


WRITER = """
import sys
from megaseg.engine.backends.native import artefact
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.model.checkpoint import load_checkpoint
checkpoint = load_checkpoint(sys.argv[1])
print("ready", flush=True)
while True:
    compile_checkpoint(checkpoint, sys.argv[2])
"""


def test_killed_at_any_moment_the_old_file_or_a_whole_new_one_is_there(scene_checkpoint: Path, tmp_path: Path) -> None:
    """Two writers at once, both killed, fifty times."""
    path = tmp_path / "out" / "model.mseg"
    path.parent.mkdir()
    compile_checkpoint(random_checkpoint(small_config()), path)
    expected = Engine.from_checkpoint(path).logits(FEATURES)
    rng = np.random.default_rng()
    for _ in range(10):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(scene_checkpoint), str(path)], stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for _ in range(5):
            assert np.array_equal(Engine.from_checkpoint(path).logits(FEATURES), expected)
            time.sleep(rng.uniform(0, 0.01))
        for writer in writers:
            writer.kill()
            writer.communicate()
        assert np.array_equal(Engine.from_checkpoint(path).logits(FEATURES), expected)


def test_a_cache_that_cannot_be_written_is_done_without(
    scene_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("/proc/nowhere", "/dev/full/cache", ""):
        monkeypatch.setenv("MEGASEG_CACHE", folder)
        engine = Engine.from_checkpoint(scene_checkpoint)
        assert engine.describe()["artefact"] is None
        assert engine.logits(FEATURES).shape == (30, 2)


def test_a_full_disk_leaves_nothing_half_written(scene_checkpoint: Path, tmp_path: Path) -> None:
    code = f"""
import resource, signal
from megaseg import Engine
from megaseg.errors import ResourceLimitError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # in memory, too
try:
    Engine.from_checkpoint({str(scene_checkpoint)!r})
except ResourceLimitError as error:
    print(error)
"""
    environment = {**os.environ, "MEGASEG_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert list((tmp_path / "cache").iterdir()) == []
    assert "compiling in memory: expected room for a file there, got: [Errno 27] File too large" in done.stdout
