"""Files that change while they are read or mapped: one version's answers or an error, and a cache without mixtures."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, load_checkpoint, save_checkpoint
from megaseg.engine.backends.native import backend as native
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.extension import extension
from megaseg.engine.backends.onnx.file import export_checkpoint
from megaseg.engine.model.file_tensors import FileTensors
from megaseg.errors import CheckpointError

FEATURES = random_features(small_config(), 30)
CHANGED = "changed while it was read; load it again"
Change = Callable[[Path, Path], object]


def rename(new: Path, old: Path) -> None:
    shutil.copyfile(new, old.with_suffix(".new"))
    os.replace(old.with_suffix(".new"), old)


def overwrite(new: Path, old: Path) -> None:
    """As ``cp`` does, some time after the file was written."""
    written = old.stat()
    shutil.copyfile(new, old)
    os.utime(old, ns=(written.st_atime_ns, written.st_mtime_ns + 1))


def overwrite_unseen(new: Path, old: Path) -> None:
    """Overwrite within the tick of the file's clock, so that size and time stay as they are."""
    written = old.stat()
    shutil.copyfile(new, old)
    os.utime(old, ns=(written.st_atime_ns, written.st_mtime_ns))


@pytest.fixture
def versions(tmp_path: Path) -> list[Path]:
    """Two checkpoints of one config: files of the same size, with the same header."""
    paths = [tmp_path / f"v{seed}.safetensors" for seed in (1, 2)]
    for seed, path in enumerate(paths):
        save_checkpoint(path, random_checkpoint(small_config(), seed))
    return paths


@pytest.fixture
def model(tmp_path: Path, versions: list[Path]) -> Path:
    """The first version, to be changed."""
    return Path(shutil.copyfile(versions[0], tmp_path / "model.safetensors"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEGASEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def at_read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have a change happen before the n-th tensor is read."""
    read = FileTensors.__getitem__

    def arrange(count: int, change: Change, new: Path, old: Path) -> None:
        left = [count]

        def changing(self: FileTensors, name: str) -> np.ndarray:
            left[0] -= 1
            if left[0] == 0:
                change(new, old)
            return read(self, name)

        monkeypatch.setattr(FileTensors, "__getitem__", changing)

    return arrange


def in_memory(path: Path) -> np.ndarray:
    return Engine.from_checkpoint(random_checkpoint(small_config(), int(path.stem[1]) - 1)).logits(FEATURES)


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_a_load_goes_on_with_the_file_that_it_opened(
    versions: list[Path], model: Path, cache: Path, at_read: Callable[..., None], count: int
) -> None:
    at_read(count, rename, versions[1], model)
    assert np.array_equal(Engine.from_checkpoint(model).logits(FEATURES), in_memory(versions[0]))
    for path in (*versions, model):
        expected = in_memory(versions[0] if path == versions[0] else versions[1])
        assert np.array_equal(Engine.from_checkpoint(path).logits(FEATURES), expected)
    assert len(list(cache.iterdir())) == 2


def test_a_deleted_file_is_read_to_its_end(model: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(model)
    expected = checkpoint.weights_sha256()
    compile_checkpoint(checkpoint, tmp_path / "before.mseg")
    model.unlink()
    assert checkpoint.weights_sha256() == expected
    compile_checkpoint(checkpoint, tmp_path / "after.mseg")
    assert (tmp_path / "after.mseg").read_bytes() == (tmp_path / "before.mseg").read_bytes()


@pytest.mark.parametrize("change", [overwrite, overwrite_unseen])
@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_a_load_of_an_overwritten_file_keeps_nothing(
    versions: list[Path], model: Path, cache: Path, at_read: Callable[..., None], change: Change, count: int
) -> None:
    at_read(count, change, versions[1], model)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: {CHANGED}"):
        Engine.from_checkpoint(model)
    assert list(cache.iterdir()) == []
    for path in versions:
        assert np.array_equal(Engine.from_checkpoint(path).logits(FEATURES), in_memory(path))


@pytest.mark.parametrize("backend", ["native", "torch", "onnx"])
def test_a_load_into_memory_notices_too(
    versions: list[Path],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    at_read: Callable[..., None],
    backend: str,
) -> None:
    pytest.importorskip({"native": "numpy", "onnx": "onnxruntime"}.get(backend, backend))
    monkeypatch.setenv("MEGASEG_CACHE", "")
    at_read(3, overwrite, versions[1], model)
    with pytest.raises(CheckpointError, match=CHANGED):
        Engine.from_checkpoint(model, backend=backend)


@pytest.mark.parametrize("change", [overwrite, overwrite_unseen])
@pytest.mark.parametrize("suffix", ["mseg", "onnx"])
def test_compiling_an_overwritten_file_writes_nothing(
    versions: list[Path], model: Path, at_read: Callable[..., None], change: Change, suffix: str
) -> None:
    output = model.parent / "out" / f"model.{suffix}"
    output.parent.mkdir()
    checkpoint = load_checkpoint(model)
    at_read(5, change, versions[1], model)
    write = partial(compile_checkpoint, checkpoint, output)
    if suffix == "onnx":
        pytest.importorskip("onnx")
        write = partial(export_checkpoint, checkpoint, path=output)
    with pytest.raises(CheckpointError, match=CHANGED):
        write()
    assert list(output.parent.iterdir()) == []


def test_a_config_that_changes_after_it_was_read_is_noticed(tmp_path: Path) -> None:
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_checkpoint(path, random_checkpoint(small_config(threshold=0.25)))
    save_checkpoint(other, random_checkpoint(small_config(threshold=0.75)))
    checkpoint = load_checkpoint(path)
    overwrite_unseen(other, path)
    with pytest.raises(CheckpointError, match=CHANGED):
        compile_checkpoint(checkpoint, tmp_path / "model.mseg")
    assert not (tmp_path / "model.mseg").exists()


def test_a_file_truncated_while_it_is_read_is_said_to_have_changed(
    versions: list[Path], model: Path, cache: Path, at_read: Callable[..., None]
) -> None:
    at_read(4, lambda new, old: os.truncate(old, 4096), versions[1], model)
    with pytest.raises(CheckpointError, match=CHANGED):
        Engine.from_checkpoint(model)


def test_another_config_with_a_file_of_tensors_is_another_model(model: Path, cache: Path) -> None:
    checkpoint = load_checkpoint(model)
    Engine.from_checkpoint(checkpoint)
    strict = replace(checkpoint, config=replace(checkpoint.config, threshold=0.9))
    assert Engine.from_checkpoint(strict).config.threshold == 0.9
    assert Engine.from_checkpoint(checkpoint).config.threshold is None
    assert len(list(cache.iterdir())) == 2


def test_a_copy_holds_the_values_themselves(versions: list[Path], model: Path) -> None:
    checkpoint = load_checkpoint(model)
    expected = checkpoint.weights_sha256()
    copies = [pickle.loads(pickle.dumps(checkpoint)), copy.deepcopy(checkpoint)]  # noqa: S301
    overwrite(versions[1], model)
    assert [own.weights_sha256() for own in copies] == [expected, expected]


def test_a_checkpoint_that_is_dropped_closes_its_file(model: Path) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    held = [load_checkpoint(model) for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == before + 20
    del held
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="no regular file"):
            FileTensors(path)
    for path in (tmp_path, tmp_path / "pipe", tmp_path / ("a" * 300), tmp_path / "none"):
        with pytest.raises(CheckpointError):
            NativeBackend(path)
    with pytest.raises(CheckpointError, match="too long|no such file"):  # Python 3.14 answers that none is there
        Engine.from_checkpoint(tmp_path / ("a" * 300))


SWAPS = """
import os, shutil, sys
first, second, model, changes = *sys.argv[1:4], int(sys.argv[4])
for count in range(10**9):
    new = (first, second)[count % 2]
    if changes == 1:
        shutil.copyfile(new, model)
    else:
        shutil.copyfile(new, model + ".new")
        os.replace(model + ".new", model)
"""


@pytest.mark.parametrize("how", ["rename", "cp"])
def test_loads_beside_a_process_that_replaces_the_file(
    versions: list[Path], model: Path, cache: Path, tmp_path: Path, how: str
) -> None:
    expected = [in_memory(path) for path in versions]
    command = [sys.executable, "-c", SWAPS, *map(str, versions), str(model), str(int(how == "cp"))]
    errors = loads = 0
    with subprocess.Popen(command) as swapper:
        try:
            for count in range(200):
                if count % 4 == 0:
                    shutil.rmtree(cache, ignore_errors=True)
                try:
                    logits = Engine.from_checkpoint(model, num_threads=1).logits(FEATURES)
                except CheckpointError:
                    errors += 1
                    continue
                loads += 1
                assert any(np.array_equal(logits, own) for own in expected)
                for path, own in zip(versions, expected, strict=True):
                    assert np.array_equal(Engine.from_checkpoint(path, num_threads=1).logits(FEATURES), own)
        finally:
            swapper.kill()
    assert loads + errors == 200
    assert how == "cp" or errors == 0


def compiled(path: Path, seed: int, threshold: float = 0.5) -> Path:
    compile_checkpoint(random_checkpoint(small_config(threshold=threshold), seed), path)
    return path


@pytest.mark.parametrize(
    "change",
    [overwrite, lambda new, old: os.truncate(old, 4096), lambda new, old: os.truncate(old, 0)],
    ids=["cp", "truncated", "emptied"],
)
def test_a_loaded_model_whose_file_is_written_to_runs_no_more(tmp_path: Path, change: Change) -> None:
    path, other = compiled(tmp_path / "a.mseg", 0), compiled(tmp_path / "b.mseg", 1)
    engine = Engine.from_checkpoint(path)
    engine.logits(FEATURES)
    change(other, path)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"a\.mseg: changed on disk since .*: replace .* by rename"):
            engine.logits(FEATURES)


@pytest.mark.parametrize("change", [rename, lambda new, old: old.unlink(), lambda new, old: old.chmod(0o600)])
def test_a_loaded_model_whose_file_is_replaced_or_deleted_stays_as_it_is(tmp_path: Path, change: Change) -> None:
    path, other = compiled(tmp_path / "a.mseg", 0), compiled(tmp_path / "b.mseg", 1)
    engine = Engine.from_checkpoint(path)
    before = engine.logits(FEATURES)
    change(other, path)
    assert np.array_equal(engine.logits(FEATURES), before)


def test_metadata_and_weights_of_a_compiled_model_are_those_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = compiled(tmp_path / "a.mseg", 0, 0.25), compiled(tmp_path / "b.mseg", 1, 0.75)
    expected = Engine.from_checkpoint(path).logits(FEATURES)

    class Swapping:
        @staticmethod
        def Plan(*arguments: object, **options: object) -> object:  # noqa: N802
            plan = extension().Plan(*arguments, **options)
            rename(other, path)
            return plan

    monkeypatch.setattr(native, "extension", lambda: Swapping)
    engine = Engine.from_checkpoint(path)
    assert engine.config.threshold == 0.25
    assert np.array_equal(engine.logits(FEATURES), expected)


def test_what_a_model_says_of_itself_needs_no_map(tmp_path: Path) -> None:
    """A map of a truncated file ends the process that reads it, so that it runs in one of its own."""
    code = f"""
import os, sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from support import random_checkpoint, small_config
from megaseg import Engine
from megaseg.engine.backends.native.artefact import compile_checkpoint
compile_checkpoint(random_checkpoint(small_config()), {str(tmp_path / "model.mseg")!r})
engine = Engine.from_checkpoint({str(tmp_path / "model.mseg")!r}, num_threads=1)
before = engine.describe()
os.truncate({str(tmp_path / "model.mseg")!r}, 0)
assert engine.describe() == before
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
