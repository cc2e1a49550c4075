"""The model repository of NVIDIA's inference server: tensors declared, files written, each whole or not at all."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from shot_encoders import SCENE, contextualizer, film
from support import Run, random_checkpoint, random_features, small_config

from megaseg import Engine, save_checkpoint
from megaseg.deploy.inference_server import export_inference_server
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.backends.tensorrt.plan import PlanInfo, Profile, write_plan
from megaseg.errors import CheckpointError, UnsupportedError

TYPES = {"TYPE_FP32": "tensor(float)", "TYPE_INT64": "tensor(int64)"}


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGASEG_CACHE", "")


@pytest.fixture(params=["scene", "act"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"{request.param}.safetensors"
    save_checkpoint(path, random_checkpoint(small_config(request.param)))
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "scene.safetensors", random_checkpoint(small_config()))
    return tmp_path / "scene.safetensors"


def read_config(model: Path) -> Any:
    """config.pbtxt as the inference server's own message."""
    messages = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    return text_format.Parse((model / "config.pbtxt").read_text(encoding="utf-8"), messages.ModelConfig())


def declared(config: Any) -> tuple[dict[str, tuple[str, list[int]]], ...]:
    """Type and sizes of each input and output."""
    kinds = type(config.input.add()).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    del config.input[-1]
    return tuple(
        {tensor.name: (kinds[tensor.data_type].name, list(tensor.dims)) for tensor in tensors}
        for tensors in (config.input, config.output)
    )


class Tensor:
    """An array with a name, as the inference server's python backend hands it over."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        assert isinstance(array, np.ndarray)
        self.name, self._array = name, array

    def as_numpy(self) -> np.ndarray:
        return self._array


class Request:
    def __init__(self, arrays: dict[str, np.ndarray], **parameters: Any) -> None:
        self.tensors = {name: Tensor(name, array) for name, array in arrays.items()}
        self._parameters = parameters

    def parameters(self) -> str:
        return json.dumps(self._parameters)


class TritonError:
    INTERNAL, INVALID_ARG = "internal", "invalid"

    def __init__(self, message: str, code: str) -> None:
        self.message, self.code = message, code


class Response:
    def __init__(self, output_tensors: Any = (), error: TritonError | None = None) -> None:
        self.error, self.outputs = error, {tensor.name: tensor.as_numpy() for tensor in output_tensors}


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that the inference server's python backend gives to a model."""
    module = ModuleType("triton_python_backend_utils")
    names = {
        "Tensor": Tensor,
        "InferenceResponse": Response,
        "TritonError": TritonError,
        "get_input_tensor_by_name": lambda request, name: request.tensors.get(name),
    }
    module.__dict__.update(names)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def start(model: Path, version: str = "1") -> Any:
    """The model of a repository's model.py, as the server starts it."""
    from google.protobuf import json_format

    spec = importlib.util.spec_from_file_location("model", model / version / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = json_format.MessageToDict(
        read_config(model), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    made = module.TritonPythonModel()
    made.initialize({"model_config": json.dumps(config), "model_repository": str(model), "model_version": version})
    return made


def expect_same(outputs: dict[str, np.ndarray], engine: Engine, features: Any, **decision: Any) -> None:
    want = engine.segment(features, **decision)
    assert outputs["scores"].tobytes() == want.scores.tobytes()
    assert outputs["boundaries"].dtype == bool
    assert outputs["boundaries"].shape == (len(want.scores),)
    np.testing.assert_array_equal(np.flatnonzero(outputs["boundaries"]), want.boundaries)
    if want.task == "act":
        assert outputs["turning_points"].dtype == np.int64
        np.testing.assert_array_equal(outputs["turning_points"], [point.shot for point in want.turning_points])


@pytest.mark.parametrize("compiled", [False, True])
def test_the_python_model_is_the_engine(compiled: bool, checkpoint: Path, backend: ModuleType, tmp_path: Path) -> None:
    config = small_config(checkpoint.stem)
    source = checkpoint
    if compiled:
        source = tmp_path / "model.mseg"
        compile_checkpoint(random_checkpoint(config), source, compute_type="float32")
    export_inference_server(source, tmp_path / "models", name="m", kind="python", compute_type="float32")
    model = start(tmp_path / "models" / "m")
    engine = Engine.from_checkpoint(checkpoint, compute_type="float32")
    movies = [random_features(config, shots, seed=shots) for shots in (9, 6, 30)]
    responses = model.execute([Request(movie) for movie in movies])
    for response, movie in zip(responses, movies, strict=True):
        assert response.error is None
        expect_same(response.outputs, engine, movie)
    inputs, outputs = declared(read_config(tmp_path / "models" / "m"))
    assert inputs == {"clip": ("TYPE_FP32", [-1, 13]), "audio": ("TYPE_FP32", [-1, 7])}
    kinds = {np.dtype(np.float32): "TYPE_FP32", np.dtype(bool): "TYPE_BOOL", np.dtype(np.int64): "TYPE_INT64"}
    assert set(outputs) == set(responses[0].outputs)
    for name, array in responses[0].outputs.items():
        kind, sizes = outputs[name]
        assert kind == kinds[array.dtype]
        assert [-1 if size == -1 else got for got, size in zip(array.shape, sizes, strict=True)] == sizes


def test_a_request_that_fails_fails_alone(scene: Path, backend: ModuleType, tmp_path: Path) -> None:
    export_inference_server(scene, tmp_path, kind="python", compute_type="float32")
    model = start(tmp_path / "scene")
    engine = Engine.from_checkpoint(scene, compute_type="float32")
    config = small_config()
    good, bad = random_features(config, 12), random_features(config, 12)
    bad["clip"][3, 4] = np.nan
    requests = [
        *(Request(good), Request(bad), Request({**good, "audio": good["audio"][:5]})),
        *(Request(good, num_scenes=3), Request(good, num_scenes=99), Request(good, num_scenes="3")),
        *(Request(good, colour="red"), Request(random_features(config, 1))),
    ]
    responses = model.execute(requests)
    kinds = [response.error and response.error.code for response in responses]
    assert kinds == [None, "invalid", "invalid", None, "invalid", "invalid", "invalid", None]
    said = [response.error and response.error.message for response in responses]
    assert "NaN or Inf at shot 3" in said[1]
    assert "same number of shots" in said[2]
    assert "num_scenes: expected 1 to 12" in said[4]
    assert "num_scenes" in said[5]
    assert "got colour" in said[6]
    expect_same(responses[0].outputs, engine, good)
    expect_same(responses[3].outputs, engine, good, num_scenes=3)


def test_the_server_gathers_movies_where_asked(checkpoint: Path, backend: ModuleType, tmp_path: Path) -> None:
    export_inference_server(checkpoint, tmp_path, kind="python", compute_type="float32", max_batch_size=16)
    config = read_config(tmp_path / checkpoint.stem)
    assert config.max_batch_size == 16
    assert config.HasField("dynamic_batching")
    assert all(tensor.allow_ragged_batch for tensor in config.input)
    model = start(tmp_path / checkpoint.stem)
    engine = Engine.from_checkpoint(checkpoint, compute_type="float32")
    movies = [random_features(small_config(checkpoint.stem), 8, seed=seed) for seed in range(3)]
    two = {name: np.stack([movie[name] for movie in movies[:2]]) for name in movies[0]}
    first, second = model.execute([Request(two), Request({name: array[None] for name, array in movies[2].items()})])
    rows = [{name: array[i] for name, array in first.outputs.items()} for i in range(2)]
    rows.append({name: array[0] for name, array in second.outputs.items()})
    for row, movie in zip(rows, movies, strict=True):
        expect_same(row, engine, movie)
    (empty,) = model.execute([Request({name: array[:0] for name, array in two.items()})])
    assert "at least one movie" in empty.error.message


@pytest.mark.parametrize("compiled", [False, True])
def test_the_onnx_model_takes_what_is_declared(compiled: bool, checkpoint: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    task = checkpoint.stem
    source = checkpoint
    if compiled:
        from megaseg.engine.backends.onnx.file import export_checkpoint

        source = tmp_path / "m.onnx"
        export_checkpoint(random_checkpoint(small_config(task)), "float32", source)
    made = export_inference_server(source, tmp_path / "models", name="m")
    config = read_config(tmp_path / "models" / "m")
    assert (config.name, config.platform, config.max_batch_size) == ("m", "onnxruntime_onnx", 0)
    assert made.folder == tmp_path / "models" / "m" / "1"
    session = onnxruntime.InferenceSession(made.folder / "model.onnx", providers=["CPUExecutionProvider"])
    inputs, outputs = declared(config)
    for tensors, theirs in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
        want = {
            value.name: (value.type, [size if isinstance(size, int) else -1 for size in value.shape])
            for value in theirs
        }
        assert {name: (TYPES[kind], sizes) for name, (kind, sizes) in tensors.items()} == want
    features = random_features(small_config(task), 11)
    feeds: dict[str, Any] = dict(features)
    if task == "scene":  # the lines of docs/triton.md
        length = inputs["windows"][1][1]
        around = np.arange(length) - length // 2
        feeds["windows"] = (np.arange(11)[:, None] + around).clip(0, 10)
    else:
        feeds = {name: array[None] for name, array in features.items()}
    (logits,) = session.run(["logits"], feeds)
    engine = Engine.from_checkpoint(checkpoint, backend="onnx")
    np.testing.assert_allclose(logits.reshape(11, -1), engine.logits(features), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("tensorrt", "index"), [("8.6.1", "TYPE_INT32"), ("11.4.0.106", "TYPE_INT64")])
def test_a_plan_gives_its_engine(tensorrt: str, index: str, tmp_path: Path) -> None:
    config = small_config()
    names = ("compute_type", "attention", "gpu", "capability", "weights_sha256", "megaseg")
    info = PlanInfo(
        config, passes=(), profile=Profile.of(config), tensorrt=tensorrt, metadata={}, **dict.fromkeys(names, "x")
    )
    write_plan(tmp_path / "m.plan", info, b"an engine")
    made = export_inference_server(tmp_path / "m.plan", tmp_path / "models", kind="tensorrt")
    assert (made.folder / "model.plan").read_bytes() == b"an engine"
    own = read_config(tmp_path / "models" / "m")
    inputs, outputs = declared(own)
    assert (own.platform, inputs["windows"]) == ("tensorrt_plan", (index, [-1, 5]))
    assert list(inputs) == ["clip", "audio", "windows"]
    assert outputs == {"logits": ("TYPE_FP32", [-1, 2]), "logits.parts": ("TYPE_FP32", [-1, 2, 2])}


def test_versions_are_counted_and_the_users_changes_stay(scene: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert export_inference_server(scene, models, kind="python").folder == models / "scene" / "1"
    config = models / "scene" / "config.pbtxt"
    changed = config.read_text() + "instance_group { kind: KIND_CPU count: 2 }\n"
    config.write_text(changed)
    (models / "scene" / "7").mkdir()
    (models / "scene" / "notes").mkdir()
    assert export_inference_server(scene, models, kind="python").folder == models / "scene" / "8"
    assert config.read_text() == changed
    wider = tmp_path / "wider.safetensors"
    save_checkpoint(wider, random_checkpoint(small_config(max_length=7)))
    export_inference_server(scene, models, name="graph")
    with pytest.raises(UnsupportedError, match=r"graph/config.pbtxt: expected the inputs and outputs of this model"):
        export_inference_server(wider, models, name="graph")  # rows of 7 indices, not of 5
    assert sorted(entry.name for entry in (models / "graph").iterdir()) == ["1", "config.pbtxt"]
    for path in (models / "graph", models / "graph" / "1", models / "scene" / "8"):
        assert oct(path.stat().st_mode & 0o777) == oct(0o777 & ~umask())


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_exports_at_once_are_versions_of_one_model(scene: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: export_inference_server(scene, tmp_path / "models", kind="python"), range(6)))
    assert sorted(one.folder.name for one in made) == ["1", "2", "3", "4", "5", "6"]
    for one in made:
        assert sorted(path.name for path in one.folder.iterdir()) == ["model.py", "model.safetensors"]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["scene"]


def test_an_export_that_fails_leaves_nothing(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(
        "megaseg.deploy.inference_server.shutil", SimpleNamespace(copyfile=full, rmtree=__import__("shutil").rmtree)
    )
    with pytest.raises(OSError, match="No space left"):
        export_inference_server(scene, tmp_path / "models", kind="python")
    assert list((tmp_path / "models").iterdir()) == []
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "models"])


@pytest.mark.parametrize("call", ["copyfile", "rename"])
def test_a_process_killed_half_way_leaves_no_model(call: str, scene: Path, tmp_path: Path) -> None:
    code = f"""
        import os, shutil, signal, pathlib
        from megaseg.deploy.inference_server import export_inference_server
        owner = shutil if {call!r} == "copyfile" else pathlib.Path
        setattr(owner, {call!r}, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        export_inference_server({str(scene)!r}, {str(tmp_path / "models")!r}, kind="python")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list((tmp_path / "models").iterdir()) == []  # what is left lies beside, where no server looks


def test_what_cannot_be_exported_is_refused(scene: Path, tmp_path: Path) -> None:
    def refused(match: str, model: Any = scene, **options: Any) -> None:
        with pytest.raises((UnsupportedError, CheckpointError), match=match):
            export_inference_server(model, tmp_path / "models", **options)

    refused(r"kind: expected one of onnx, python, tensorrt, got 'keras'", kind="keras")
    refused(r"name: expected .* got '../up'", name="../up")
    refused(r"max_batch_size: expected 0, or more with kind python, got 4", max_batch_size=4)
    refused(r"expected a .plan", kind="tensorrt")
    refused(r"expected a .safetensors, .mseg, .onnx or .plan file or a shipped checkpoint", model="nothing")
    refused(r"compute_type", compute_type="int3")
    save_checkpoint(tmp_path / "synopsis.safetensors", random_checkpoint(small_config("synopsis")))
    refused(r"got one of task synopsis; take kind onnx", model=tmp_path / "synopsis.safetensors", kind="python")
    compile_checkpoint(random_checkpoint(small_config()), tmp_path / "m.mseg", compute_type="float32")
    refused(r"kind onnx", model=tmp_path / "m.mseg")
    refused(r"compute_type of .*m.mseg", model=tmp_path / "m.mseg", kind="python", compute_type="int8")
    whole = (tmp_path / "m.mseg").read_bytes()
    (tmp_path / "half.mseg").write_bytes(whole[:200])
    refused(r"half.mseg: expected a whole compiled model", model=tmp_path / "half.mseg", kind="python")
    assert not (tmp_path / "models").exists() or list((tmp_path / "models").iterdir()) == []


def test_models_of_strided_windows(backend: ModuleType, tmp_path: Path) -> None:
    encoder, scenes = tmp_path / "encoder.safetensors", tmp_path / "scenes.safetensors"
    save_checkpoint(encoder, random_checkpoint(contextualizer()))
    save_checkpoint(scenes, random_checkpoint(contextualizer(**SCENE)))
    for model, kind, instead in (
        (encoder, "onnx", "one of the movie's overlapping windows; megaseg serve cuts them"),
        (scenes, "onnx", "one of the movie's overlapping windows; kind python cuts them"),
        (encoder, "python", "got one of task embedding; megaseg serve gives its outputs"),
    ):
        with pytest.raises(UnsupportedError, match=instead):
            export_inference_server(model, tmp_path / "models", kind=kind)
    assert not list((tmp_path / "models").iterdir())
    export_inference_server(scenes, tmp_path / "models", kind="python", compute_type="float32")
    movie, engine = film(contextualizer(), 30), Engine.from_checkpoint(scenes, compute_type="float32")
    (response,) = start(tmp_path / "models" / "scenes").execute([Request(movie)])
    expect_same(response.outputs, engine, movie)


def test_the_command(run: Run, scene: Path, tmp_path: Path) -> None:
    code, out, _ = run("export-triton", scene, "-o", tmp_path / "models", "--kind", "python", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["folder"] == str(tmp_path / "models" / "scene" / "1")
    assert report["inputs"] == {"clip": ["float32", -1, 13], "audio": ["float32", -1, 7]}
    code, out, _ = run("export-triton", scene, "-o", tmp_path / "models", "--kind", "python")
    assert code == 0
    assert "tritonserver --model-repository" in out
    code, _, err = run("export-triton", scene, "-o", tmp_path / "models", "--kind", "keras")
    assert (code, "error: kind" in err) == (2, True)
