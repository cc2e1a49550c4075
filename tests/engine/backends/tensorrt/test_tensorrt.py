"""The TensorRT backend without a GPU: a fake runtime of each version computes with ONNX Runtime what is enqueued."""

from __future__ import annotations

import inspect
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import checkpoint_of
from support import Run, explained, logits_of, random_checkpoint, random_features, small_config

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
from fake_builder import MAGIC
from fake_tensorrt import Machine

from megaseg import Engine, save_checkpoint
from megaseg.engine.backends.tensorrt.backend import TensorRTBackend, compile_plan
from megaseg.engine.backends.tensorrt.batches import fill, input_shapes, runs
from megaseg.engine.backends.tensorrt.plan import Profile, is_plan, read_plan, write_plan
from megaseg.engine.graph.passes import PASSES, rewrite
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.family import graph_of, structure_of
from megaseg.errors import CheckpointError, FeatureError, MegasegError, UnsupportedError

VERSIONS = ("8.6.1", "10.16.1.11", "11.4.0.106")
LENGTHS = [1, 7, 2, 30, 5, 7, 19, 1]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEGASEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine().install(monkeypatch)


@pytest.fixture
def plan(machine: Machine, tmp_path: Path) -> Path:
    compile_plan(random_checkpoint(small_config()), tmp_path / "model.plan", profile=Profile.of(small_config(), 4, 16))
    return tmp_path / "model.plan"


def movies(checkpoint: Checkpoint, lengths: list[int]) -> list[list[np.ndarray]]:
    return [list(random_features(checkpoint.config, n, seed=i).values()) for i, n in enumerate(lengths)]


def exact(checkpoint: Checkpoint, movie: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    from megaseg.engine.backends.torch.backend import TorchBackend

    return explained(TorchBackend(checkpoint, compute_type="float64", passes=()), movie)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("task", "tolerance"), [("scene", 2e-5), ("act", 2e-5), ("synopsis", 2e-5), ("scene", 2e-2)])
def test_movies_of_many_lengths_in_shared_batches(
    version: str, task: str, tolerance: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(version).install(monkeypatch)
    checkpoint = random_checkpoint(small_config(task), seed=3)
    kind = "float32" if tolerance < 1e-3 else "float16"
    profile = Profile.of(checkpoint.config, windows=8, max_windows=32, movies=2)
    compile_plan(checkpoint, tmp_path / "m.plan", compute_type=kind, profile=profile)
    backend = TensorRTBackend.load(tmp_path / "m.plan")
    inputs = movies(checkpoint, LENGTHS)
    wanted = [exact(checkpoint, movie)[0] for movie in inputs]
    for _ in range(4):  # as new shapes, while they are captured, and twice as graphs
        for got, want in zip(logits_of(backend, inputs), wanted, strict=True):
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max())
    assert machine.captures > 0
    assert machine.replays > 0
    logits, contributions = explained(backend, inputs[3])
    np.testing.assert_allclose(logits, wanted[3], atol=tolerance * np.abs(wanted[3]).max())
    want = exact(checkpoint, inputs[3])[1]
    np.testing.assert_allclose(contributions, want, atol=tolerance * np.abs(want).max())


def test_batches_have_few_sizes_and_lose_no_shot() -> None:
    config, rng = small_config(max_length=17), np.random.default_rng(5)
    graph = structure_of(config)
    profile = Profile.of(config, windows=12, max_windows=40)
    sizes = set()
    for _ in range(200):
        lengths = rng.integers(1, 60, rng.integers(1, 6)).tolist()
        covered: list[list[int]] = [[] for _ in lengths]
        for batch in runs(graph, profile, lengths, [range(n) for n in lengths]):
            sizes.add(batch.sequences)
            windows = sum(piece.wanted.stop - piece.wanted.start for piece in batch.pieces)
            read = sum(piece.read.stop - piece.read.start for piece in batch.pieces)
            assert windows <= batch.sequences <= 40
            assert read <= batch.shots == batch.sequences + 16
            for piece in batch.pieces:
                covered[piece.movie] += range(piece.wanted.start, piece.wanted.stop)
        assert covered == [list(range(n)) for n in lengths]
    assert sizes <= {1, 2, 4, 8, 16, 32, 40}


def test_what_is_left_over_reads_the_first_shot() -> None:
    config = small_config()
    graph = structure_of(config)
    (batch,) = runs(graph, Profile.of(config, 8), [3, 2], [range(3), range(2)])
    shapes = input_shapes(graph, batch.sequences, batch.shots)
    arrays = {name: np.full(shape, 99, np.int64 if name == "windows" else np.float32) for name, shape in shapes.items()}
    fill(graph, batch, movies(random_checkpoint(config), [3, 2]), arrays)
    assert arrays["windows"].tolist() == [
        [0, 0, 0, 1, 2], [0, 0, 1, 2, 2], [0, 1, 2, 2, 2], [3, 3, 3, 4, 4], [3, 3, 4, 4, 4], *[[0] * 5] * 3
    ]  # fmt: skip
    assert (arrays["clip"][5:] == 99).all()


def test_features_that_overflow_are_refused(machine: Machine, plan: Path) -> None:
    features = random_features(small_config(), 9)
    features["clip"][4] = 60000
    with pytest.raises(FeatureError, match=r"overflow float16"):
        Engine.from_checkpoint(plan).segment(features)


def test_movies_of_equal_length_share_a_batch() -> None:
    config = small_config("act")
    profile = Profile.of(config, movies=2)
    assert profile.shots == (1, config.max_length, config.max_length)
    lengths = [7, 3, 7, 7]
    found = [
        (run.sequences, run.shots, [p.movie for p in run.pieces])
        for run in runs(structure_of(config), profile, lengths, [range(n) for n in lengths])
    ]
    assert found == [(2, 7, [0, 2]), (1, 7, [3]), (1, 3, [1])]


def test_the_profile_has_what_its_windows_read() -> None:
    profile = Profile.of(small_config(max_length=17))
    assert profile == Profile((1, 256, 1024), (1, 272, 1040))
    for wrong in ({"windows": 0}, {"windows": 9, "max_windows": 8}, {"movies": 0}):
        with pytest.raises(UnsupportedError, match=r"expected at least"):
            Profile.of(small_config(), **wrong)


def test_shapes_keep_to_the_profile_and_graphs_to_their_number(
    machine: Machine, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megaseg.engine.backends.tensorrt.backend._MOST_GRAPHS", 2)
    backend = TensorRTBackend.load(plan)
    checkpoint = random_checkpoint(small_config())
    for length in (1, 2, 4, 16, 23, 1, 2, 4, 16, 1, 2, 4, 16):
        movie = movies(checkpoint, [length])
        want = exact(checkpoint, movie[0])[0]
        np.testing.assert_allclose(logits_of(backend, movie)[0], want, atol=2e-2)
    assert {shapes["windows"][0] for shapes in machine.shapes} == {1, 2, 4, 8, 16}
    assert all(shapes["clip"][0] == shapes["windows"][0] + 4 for shapes in machine.shapes)
    assert len(backend._graphs) == 2
    assert machine.captures > 4, "the least recently used graph makes room"


def test_threads_take_turns(machine: Machine, plan: Path) -> None:
    backend, checkpoint = TensorRTBackend.load(plan), random_checkpoint(small_config())
    inputs = movies(checkpoint, [9, 40, 1, 23])
    alone = [logits_of(backend, [movie])[0] for movie in inputs]
    failures: list[str] = []

    def work(first: int) -> None:
        for turn in range(12):
            index = (first + turn) % len(inputs)
            (got,) = logits_of(backend, [inputs[index]])
            if not np.array_equal(got, alone[index]):
                failures.append(f"movie {index}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_plan_says_what_it_is_for(machine: Machine, tmp_path: Path) -> None:
    checkpoint = random_checkpoint(small_config(threshold=0.3))
    info = compile_plan(checkpoint, tmp_path / "m.plan", passes=("needed_queries",), workspace=1 << 20)
    assert is_plan(tmp_path / "m.plan")
    assert read_plan(tmp_path / "m.plan")[0] == info
    assert (info.tensorrt, info.gpu, info.capability) == ("11.4.0.106", "Fake H200", "9.0")
    assert (info.compute_type, info.passes, info.config) == ("float16", ("needed_queries",), checkpoint.config)
    assert info.weights_sha256 == checkpoint.weights_sha256()
    assert machine.workspace == 1 << 20
    described = Engine.from_checkpoint(tmp_path / "m.plan").describe()
    assert described["backend"] == "tensorrt"
    assert described["target"] == "TensorRT 11.4.0.106, Fake H200"
    assert described["artefact"] == str(tmp_path / "m.plan")


@pytest.mark.parametrize("here", [{"version": "10.16.1.11"}, {"gpu": "Fake L4"}, {"capability": "8.9"}])
def test_another_version_or_gpu_asks_to_compile_again(
    plan: Path, here: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Machine(**here).install(monkeypatch)
    other.broken = "deserialize"  # it must not come to that
    refusal = r"expected a plan for .*Fake.*got one for .*compile the checkpoint again"
    with pytest.raises(UnsupportedError, match=refusal):
        Engine.from_checkpoint(plan)


def test_every_damage_to_a_plan_is_found(machine: Machine, plan: Path) -> None:
    whole = plan.read_bytes()
    rng = np.random.default_rng(1)
    cuts = [0, 1, 8, 31, 32, len(whole) - 1, *rng.integers(0, len(whole), 20).tolist()]
    for cut in cuts:
        plan.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=str(plan)):
            TensorRTBackend.load(plan)
    for place in [*range(40), *rng.integers(0, len(whole), 60).tolist()]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        plan.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"model\.plan: expected .*got"):
            TensorRTBackend.load(plan)
    plan.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match=r"expected \d+ bytes"):
        TensorRTBackend.load(plan)


def test_a_description_that_does_not_fit_is_refused(machine: Machine, plan: Path) -> None:
    info, engine = read_plan(plan)
    for changes in ({"profile": Profile((1, 9, 4), (1, 1, 1))}, {"profile": Profile((1, 2), (1, 2))}):  # type: ignore[arg-type]
        write_plan(plan, _replaced(info, **changes), bytes(engine))
        with pytest.raises(CheckpointError, match=r"expected the description of a plan"):
            read_plan(plan)
    write_plan(plan, _replaced(info, config=small_config("act")), bytes(engine))
    with pytest.raises(CheckpointError, match=r"expected an engine with the tensors .*got .*windows"):
        TensorRTBackend.load(plan)


def _replaced(info: Any, **changes: Any) -> Any:
    import dataclasses

    return dataclasses.replace(info, **changes)


def test_an_engine_that_tensorrt_cannot_read(machine: Machine, plan: Path) -> None:
    info, engine = read_plan(plan)
    write_plan(plan, info, b"x" + bytes(engine))
    with pytest.raises(CheckpointError, match=r"model\.plan: expected an engine .*magic tag does not match"):
        TensorRTBackend.load(plan)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("broken", ["context", "shape", "run"])
def test_what_tensorrt_refuses_is_told_with_its_reason(
    version: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(version).install(monkeypatch)
    checkpoint = random_checkpoint(small_config())
    machine.broken = broken
    with pytest.raises(MegasegError, match=r"TensorRT refused .*(Error Code|is not in)"):
        Engine.from_checkpoint(checkpoint, backend="tensorrt").logits(random_features(checkpoint.config, 3))
    machine.broken = ""
    backend = TensorRTBackend.from_checkpoint(checkpoint)
    machine.broken = "run"
    with pytest.raises(MegasegError):
        logits_of(backend, movies(checkpoint, [3, 50]))
    machine.broken = ""
    (got,) = logits_of(backend, movies(checkpoint, [6]))  # one failure leaves nothing behind
    np.testing.assert_allclose(got, exact(checkpoint, movies(checkpoint, [6])[0])[0], atol=2e-2)


@pytest.mark.parametrize("version", VERSIONS)
def test_builds_that_fail_give_the_reasons(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(version).install(monkeypatch)
    checkpoint = random_checkpoint(small_config())
    machine.broken = "build"
    with pytest.raises(UnsupportedError, match=r"cannot build the model: Error Code 10: no implementation"):
        compile_plan(checkpoint, tmp_path / "m.plan")
    monkeypatch.setattr("megaseg.engine.backends.tensorrt.backend._onnx", lambda *_: b"no ONNX")
    with pytest.raises(UnsupportedError, match=r"cannot read the ONNX model: no model: .*node 3, .*INVALID_NODE|\b1\b"):
        compile_plan(checkpoint, tmp_path / "m.plan")
    assert list(tmp_path.glob("*.plan")) == []


def test_a_second_stream_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Machine(VERSIONS[-1]).install(monkeypatch)
    with pytest.raises(UnsupportedError, match=r"backend 'tensorrt': expected .*, got token, token_place with rows"):
        compile_plan(checkpoint_of("crossed", False), tmp_path / "m.plan")


@pytest.mark.parametrize("version", VERSIONS)
def test_compute_types(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(version).install(monkeypatch)
    checkpoint = random_checkpoint(small_config())
    refused = {"int8", "float64"} | ({"bfloat16"} if version == "8.6.1" else set())
    for kind in refused:
        with pytest.raises(UnsupportedError, match=rf"{kind}.*TensorRT {version} supports float16"):
            Engine.from_checkpoint(checkpoint, backend="tensorrt", compute_type=kind)
    for kind in {"float16", "bfloat16", "float32"} - refused:
        compile_plan(checkpoint, tmp_path / "m.plan", compute_type=kind)
        expected = {"OBEY_PRECISION_CONSTRAINTS"} if version == "8.6.1" else set()
        assert machine.flags == expected | ({"FP16"} if (version, kind) == ("8.6.1", "float16") else set())


def test_the_timing_cache_saves_the_second_build_its_measurements(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> int:
        machine.timed = 0
        compile_plan(random_checkpoint(small_config()), tmp_path / "m.plan")
        return machine.timed

    assert build() > 0
    assert build() == 0
    (kept,) = (tmp_path / "cache").glob("*.timing")
    kept.write_bytes(kept.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert build() > 0
    assert "timing cache ignored, built afresh" in caplog.text
    assert build() == 0
    machine.gpu = "Fake L4"  # its measurements have a file of their own
    assert build() > 0
    assert len(list((tmp_path / "cache").glob("*.timing"))) == 2
    for content in (b"nonsense", b'timings {"gpu": "another", "known": []}'):
        from megaseg.engine.backends.tensorrt.plan import TIMING, write_body

        for file in (tmp_path / "cache").glob("*.timing"):
            write_body(file, TIMING, {}, content)
        caplog.clear()
        assert build() > 0
        assert "TensorRT refuses it" in caplog.text


def test_a_checkpoint_is_built_once(machine: Machine, scene_checkpoint: Path, tmp_path: Path) -> None:
    features = random_features(small_config(), 12)
    first = Engine.from_checkpoint(scene_checkpoint, backend="tensorrt", device="cuda", compute_type="float16")
    (kept,) = (tmp_path / "cache").glob("*.plan")
    assert first.describe()["artefact"] == str(kept)
    again = Engine.from_checkpoint(scene_checkpoint, backend="tensorrt")
    np.testing.assert_array_equal(first.logits(features), again.logits(features))
    assert machine.builds == 1
    Engine.from_checkpoint(scene_checkpoint, backend="tensorrt", compute_type="float32")
    Engine.from_checkpoint(scene_checkpoint, backend="tensorrt", passes=False)
    assert machine.builds == 3
    kept.write_bytes(kept.read_bytes()[:-4])
    np.testing.assert_array_equal(
        Engine.from_checkpoint(scene_checkpoint, backend="tensorrt").logits(features), first.logits(features)
    )
    assert machine.builds == 4
    read_plan(kept)


@pytest.mark.parametrize("folder", ["", "/proc/nowhere", "/tmp/" + "a" * 300, "~nosuchuser/cache"])
def test_without_a_cache_folder_it_is_built_every_time(
    machine: Machine, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGASEG_CACHE", folder)
    for builds in (1, 2):
        engine = Engine.from_checkpoint(random_checkpoint(small_config()), backend="tensorrt")
        assert engine.describe()["artefact"] is None
        assert machine.builds == builds


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checkpoint = random_checkpoint(small_config())
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UnsupportedError, match=r"needs TensorRT 8\.6, 10 or 11: pip install 'megaseg\[tensorrt\]'"):
        Engine.from_checkpoint(checkpoint, backend="tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", Machine("8.5.3").module)
    with pytest.raises(UnsupportedError, match=r"expected TensorRT 8\.6, 10 or 11, got 8\.5\.3"):
        Engine.from_checkpoint(checkpoint, backend="tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", Machine().module)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UnsupportedError, match=r"needs an NVIDIA GPU: torch \S+ sees none here"):
        Engine.from_checkpoint(checkpoint, backend="tensorrt")
    for device, name in (("cpu", "backend 'tensorrt'"),):
        with pytest.raises(UnsupportedError, match=rf"device of {name}: expected one of auto, cuda, got '{device}'"):
            Engine.from_checkpoint(checkpoint, backend="tensorrt", device=device)


def test_the_fake_device_stands_for_the_real_one() -> None:
    import fake_tensorrt
    import torch

    from megaseg.engine.backends.tensorrt.device import Device

    for name, method in vars(fake_tensorrt.Device).items():
        if name[0] != "_" and callable(method):
            real = inspect.signature(getattr(Device, name)).parameters
            assert list(inspect.signature(method).parameters) == list(real), name
    public = {name for name in vars(Device) if name[0] != "_"}
    assert public == {name for name in vars(fake_tensorrt.Device) if name[0] != "_"}
    assert {"stream", "capture_error_mode"} <= set(inspect.signature(torch.cuda.graph.__init__).parameters)
    assert {"Event", "CUDAGraph", "Stream", "OutOfMemoryError"} <= set(dir(torch.cuda))


def test_a_plan_takes_no_other_backend_device_or_type(machine: Machine, plan: Path) -> None:
    for options in ({"backend": "native"}, {"device": "cpu"}, {"compute_type": "float32"}):
        with pytest.raises(UnsupportedError, match=r"expected one of"):
            Engine.from_checkpoint(plan, **options)


def test_a_forked_process_must_load_its_own(machine: Machine, plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TensorRTBackend.load(plan)
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(UnsupportedError, match=r"forked"):
        logits_of(backend, movies(random_checkpoint(small_config()), [3]))


@pytest.mark.parametrize("task", ["scene", "act"])
@pytest.mark.parametrize("passes", [True, False])
def test_attention_as_a_plugin_gives_the_same(
    task: str, passes: bool, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr("megaseg.kernels.triton.plugin.register", lambda: None)
    checkpoint = random_checkpoint(small_config(task, num_unimodal_layers=2), seed=8)
    names = tuple(PASSES) if passes else ()
    options: dict[str, Any] = {"compute_type": "float32", "passes": names, "attention": "plugin"}
    info = compile_plan(checkpoint, tmp_path / "m.plan", **options)
    assert read_plan(tmp_path / "m.plan")[0] == info
    assert info.attention == "plugin"
    import onnx

    nodes = onnx.load_model_from_string(bytes(read_plan(tmp_path / "m.plan")[1]).partition(b"\0")[2]).graph.node
    plugins = [node for node in nodes if node.op_type == "bottleneck_attention"]
    whole = [
        node for node in rewrite(graph_of(checkpoint), names).nodes() if node.op in ("attention", "window_attention")
    ]
    assert len(plugins) == len(whole) > 0
    keys = {attribute.i for node in plugins for attribute in node.attribute if attribute.name == "tokens"}
    assert keys == ({5 + 2, 5 + 4} if task == "scene" and not passes else {5 + 2} if task == "scene" else {0})
    (movie,) = movies(checkpoint, [21])
    (got,) = logits_of(TensorRTBackend.load(tmp_path / "m.plan"), [movie])
    np.testing.assert_allclose(got, exact(checkpoint, movie)[0], atol=2e-5)


def test_a_plugin_needs_what_it_needs(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    for attention, message in (("flash", r"expected one of onnx, plugin, got 'flash'"), ("plugin", r"TensorRT 10\.9")):
        with pytest.raises(UnsupportedError, match=message):
            compile_plan(random_checkpoint(small_config()), tmp_path / "m.plan", attention=attention)
    monkeypatch.setitem(sys.modules, "megaseg.engine.backends.tensorrt.attention", None)
    with pytest.raises(UnsupportedError, match=r"needs onnx and Triton: pip install"):
        compile_plan(random_checkpoint(small_config()), tmp_path / "m.plan", attention="plugin")


def test_compile_writes_a_plan_that_segments(run: Run, machine: Machine, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.safetensors"
    save_checkpoint(checkpoint, random_checkpoint(small_config()))
    arguments = ("compile", checkpoint, "--target", "tensorrt", "--compute-type", "float16", "-o", tmp_path / "m.plan")
    code, out, err = run(*arguments, "--windows", "8", "--max-windows", "24", "--workspace", "64", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["profile"] == {"sequences": [1, 8, 24], "shots": [1, 12, 28]}
    assert report["bytes"] == (tmp_path / "m.plan").stat().st_size
    assert (report["compute_type"], machine.workspace) == ("float16", 64 << 20)
    np.savez(tmp_path / "movie.npz", **random_features(small_config(), 20))
    code, out, _ = run("segment", tmp_path / "movie.npz", "-c", tmp_path / "m.plan")
    assert code == 0
    assert "scenes in 20 shots" in out
    code, out, _ = run("info", tmp_path / "m.plan", "--json")
    assert code == 0
    assert json.loads(out)["target"] == "TensorRT 11.4.0.106, Fake H200 (compute capability 9.0)"
    assert json.loads(out)["sequences"] == "1 to 24, tuned for 8"
    code, _, err = run(*arguments, "--isa", "avx2")
    assert code == 2
    assert "isa: expected none for target tensorrt" in err
    code, out, _ = run(*arguments)
    assert code == 0
    assert "for TensorRT 11.4.0.106, Fake H200 in float16" in out


def test_the_fake_engine_is_no_onnx(plan: Path) -> None:
    assert bytes(read_plan(plan)[1]).startswith(MAGIC)
