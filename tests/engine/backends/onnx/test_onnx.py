"""Models as ONNX: ONNX Runtime and the ONNX reference evaluator against the reference model in float64."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Run, explained, logits_of, odd_config, random_checkpoint, random_features, small_config

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

from megaseg import Checkpoint, Engine, load_checkpoint, models  # noqa: E402
from megaseg.engine.backends.onnx.backend import OnnxBackend  # noqa: E402
from megaseg.engine.backends.onnx.file import COMPUTE_TYPES, export, export_checkpoint, load  # noqa: E402
from megaseg.engine.backends.onnx.writer import TYPES  # noqa: E402
from megaseg.engine.backends.protocol import Excerpt  # noqa: E402
from megaseg.engine.backends.torch.backend import TorchBackend  # noqa: E402
from megaseg.engine.graph.passes import PASSES  # noqa: E402
from megaseg.engine.inputs.modality import Modality  # noqa: E402
from megaseg.engine.model.config import ModelConfig  # noqa: E402
from megaseg.engine.model.family import graph_of  # noqa: E402
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError  # noqa: E402

TOLERANCE = 2e-5  # of max(1, |logit|)
VECTORS = ("act-one-modality", "act-small", "scene-deep", "scene-small")
BOTH = pytest.mark.parametrize("passes", [(), tuple(PASSES)], ids=["as-written", "rewritten"])
Movie = list[np.ndarray]


def error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected))))


def rms(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.mean((got - expected) ** 2)))


def reference(checkpoint: Checkpoint, movie: Movie) -> np.ndarray:
    return logits_of(TorchBackend(checkpoint, compute_type="float64", passes=()), [movie])[0]


def backend(checkpoint: Checkpoint, compute_type: str = "float32", **options: Any) -> OnnxBackend:
    return OnnxBackend.from_checkpoint(checkpoint, compute_type=compute_type, num_threads=1, **options)


def random_movie(config: ModelConfig, shots: int, seed: int = 0) -> Movie:
    return list(random_features(config, shots, seed).values())


def windows_of(config: ModelConfig, shots: int) -> np.ndarray:
    offsets = np.arange(config.max_length) - config.max_length // 2
    return (np.arange(shots)[:, None] + offsets).clip(0, shots - 1)


def naive(checkpoint: Checkpoint, movie: Movie, compute_type: str) -> np.ndarray:
    """The model as written in torch, all of it in a narrow type."""
    config = checkpoint.config
    model = models.from_checkpoint(checkpoint).eval().to(getattr(torch, compute_type))
    at = windows_of(config, len(movie[0])) if config.task == "scene" else np.arange(len(movie[0]))[None]
    tensors = (torch.from_numpy(features[at]).to(getattr(torch, compute_type)) for features in movie)
    with torch.no_grad():
        named = {m.name: x for m, x in zip(config.modalities, tensors, strict=True)}
        logits = model(named).float().numpy()
    return logits[:, config.max_length // 2] if config.task == "scene" else logits[0]


def evaluate(model: Any, config: ModelConfig, movie: Movie) -> np.ndarray:
    """Logits by the ONNX reference evaluator, which rounds wherever the graph says so."""
    from onnx.reference import ReferenceEvaluator

    scene = config.task == "scene"
    feeds = {m.name: x if scene else x[None] for m, x in zip(config.modalities, movie, strict=True)}
    if scene:
        feeds["windows"] = windows_of(config, len(movie[0]))
    logits = ReferenceEvaluator(model).run(["logits"], feeds)[0]
    return logits if scene else logits[0]


def shot_counts(config: ModelConfig) -> list[int]:
    if config.task == "scene":
        return [1, max(1, config.max_length - 1), 70]  # 70: more than a batch of windows in these tests
    return [1, config.max_length // 2, config.max_length]


@BOTH
@pytest.mark.parametrize("name", VECTORS)
def test_reference_vectors(shared: Path, name: str, passes: tuple[str, ...]) -> None:
    checkpoint = load_checkpoint(shared / "vectors" / f"{name}.safetensors")
    with np.load(shared / "vectors" / f"{name}.npz") as vector:
        movie = [np.ascontiguousarray(vector[f"features/{m.name}"]) for m in checkpoint.config.modalities]
        expected = vector["logits"]
    (logits,) = logits_of(backend(checkpoint, passes=passes), [movie])
    assert error(logits, expected) < TOLERANCE
    for compute_type in ("float16", "bfloat16"):
        bound = 2 * rms(naive(checkpoint, movie, compute_type), expected)
        model = export_checkpoint(checkpoint, compute_type, passes=passes)
        assert rms(evaluate(model, checkpoint.config, movie), expected) < bound
        if compute_type == "float16":  # ONNX Runtime's CPU has few kernels of bfloat16
            assert rms(logits_of(backend(checkpoint, compute_type, passes=passes), [movie])[0], expected) < bound


@BOTH
@pytest.mark.parametrize("seed", range(20))
def test_random_models_of_any_length_in_one_session(seed: int, passes: tuple[str, ...]) -> None:
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    model = backend(checkpoint, passes=passes, batch=32)
    for shots in shot_counts(config):
        movie = random_movie(config, shots, seed)
        logits, contributions = explained(model, movie)
        assert error(logits, reference(checkpoint, movie)) < TOLERANCE, shots
        assert contributions.shape == (shots, len(config.modalities), config.num_classes)
        bias = checkpoint.tensors["head.bias"]
        np.testing.assert_allclose(contributions.sum(axis=1) + bias, logits, atol=1e-5)


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("compute_type", ["float16", "bfloat16"])
def test_narrow_types_err_no_more_than_twice_a_naive_model(compute_type: str, seed: int) -> None:
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    movie = random_movie(config, 30 if config.task == "scene" else min(60, config.max_length), seed)
    expected = reference(checkpoint, movie)
    bound = 2 * rms(naive(checkpoint, movie, compute_type), expected)
    assert rms(evaluate(export_checkpoint(checkpoint, compute_type), config, movie), expected) < bound
    if compute_type == "float16":
        assert rms(logits_of(backend(checkpoint, compute_type), [movie])[0], expected) < bound


@pytest.mark.parametrize("passes", [*[(name,) for name in PASSES], tuple(PASSES)[:3]], ids="+".join)
@pytest.mark.parametrize("task", ["scene", "act"])
def test_any_subset_of_passes(task: str, passes: tuple[str, ...]) -> None:
    config = small_config(task, num_unimodal_layers=2, num_fusion_layers=2)
    checkpoint, movie = random_checkpoint(config), random_movie(config, 9)
    (logits,) = logits_of(backend(checkpoint, passes=passes), [movie])
    assert error(logits, reference(checkpoint, movie)) < TOLERANCE


@BOTH
@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
@pytest.mark.parametrize("task", ["scene", "act", "synopsis"])
def test_types_and_shapes_are_whole_and_operators_standard(
    task: str, compute_type: str, passes: tuple[str, ...]
) -> None:
    config = small_config(task, num_fusion_layers=0 if task == "synopsis" else 2)
    model = export_checkpoint(random_checkpoint(config), compute_type, passes=passes)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (8, [("", 17)])
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        types[value.name] = value.type.tensor_type.elem_type
    operands: dict[str, list[set[int]]] = {}
    for node in model.graph.node:
        assert node.domain == ""
        operands.setdefault(node.op_type, []).append({types[name] for name in node.input})
    assert not {"If", "Loop", "Scan"} & set(operands)
    wide, narrow = onnx.TensorProto.FLOAT, TYPES[compute_type]
    for kind in ("LayerNormalization", "Softmax", "Erf", "Div", "Add"):
        assert all(narrow not in own or narrow == wide for own in operands[kind]), kind
    head = len(config.modalities)
    assert operands["MatMul"].count({narrow}) >= len(operands["MatMul"]) - head
    assert operands["MatMul"].count({wide}) >= head


def test_float16_scores_do_not_overflow_where_their_softmax_would_not() -> None:
    config = small_config("act", hidden_size=128, num_heads=1, modalities=(Modality("clip", 13),))
    tensors = dict(random_checkpoint(config).tensors)
    name = "modalities.clip.unimodal.0.self_attn.in_proj_weight"
    tensors[name] = tensors[name] * np.repeat([60, 60, 1], 128)[:, None].astype(np.float32)
    checkpoint, movie = Checkpoint(config, tensors), random_movie(config, 40)
    exact = TorchBackend(checkpoint, compute_type="float64", passes=())
    attention = next(node for node in exact.graph.nodes() if node.op == "attention")
    q, kv = exact.rows(attention.inputs, movie)
    largest = np.abs(q @ kv[:, :128].T).max()
    assert largest / np.sqrt(128) < 65504 < largest
    assert np.isfinite(evaluate(export_checkpoint(checkpoint, "float16", passes=()), config, movie)).all()


@pytest.mark.parametrize("compute_type", ["float32", "float16"])
@pytest.mark.parametrize("task", ["scene", "act"])
def test_movies_run_together_get_what_they_get_alone(task: str, compute_type: str) -> None:
    """Lengths that share batches of windows and span several."""
    config = small_config(task, max_length=5 if task == "scene" else 60)
    model = backend(random_checkpoint(config), compute_type, batch=16)
    lengths = [1, 2, 60, 33, 3, 1, 1, 1, 59, 17]
    movies = [random_movie(config, n, seed) for seed, n in enumerate(lengths)]
    together = logits_of(model, movies)
    assert [len(logits) for logits in together] == lengths
    close = 1e-5 if compute_type == "float32" else 5e-3
    for movie, logits in zip(movies, together, strict=True):
        np.testing.assert_allclose(logits, logits_of(model, [movie])[0], atol=close)
    assert logits_of(model, []) == []


def test_threads_may_share_a_session() -> None:
    config = small_config()
    model = backend(random_checkpoint(config))
    movies = [random_movie(config, 40, seed) for seed in range(24)]
    expected = [logits_of(model, [movie])[0] for movie in movies]
    with ThreadPoolExecutor(8) as pool:
        for got, wanted in zip(pool.map(lambda movie: logits_of(model, [movie])[0], movies), expected, strict=True):
            assert np.array_equal(got, wanted)


def test_a_batch_takes_only_the_shots_that_its_windows_stand_on() -> None:
    config = small_config()
    model = backend(random_checkpoint(config), batch=16)
    excerpts = [Excerpt.whole(random_movie(config, n)) for n in (3, 1000, 1, 50)]
    batches = list(model._batches(config.max_length, excerpts))
    assert sum(len(feeds["windows"]) for feeds in batches) == 1054
    assert all(len(feeds["clip"]) <= 16 + config.max_length - 1 for feeds in batches)
    assert all(feeds["windows"].max() == len(feeds["clip"]) - 1 for feeds in batches)


def test_the_engine_runs_a_checkpoint_and_a_file(tmp_path: Path) -> None:
    config = small_config(threshold=0.4)
    checkpoint, features = random_checkpoint(config), random_features(config, 20)
    export_checkpoint(checkpoint, "float16", tmp_path / "model.onnx")
    exported = Engine.from_checkpoint(tmp_path / "model.onnx")
    assert exported.config == config
    report = exported.describe()
    assert (report["backend"], report["device"], report["compute_type"]) == ("onnx", "cpu", "float16")
    assert report["target"] == f"onnxruntime {onnxruntime.__version__}"
    assert report["providers"] == ["CPUExecutionProvider"]
    assert report["passes"] == list(PASSES)
    in_memory = Engine.from_checkpoint(checkpoint, backend="onnx", compute_type="float16", num_threads=1)
    assert in_memory.describe()["num_threads"] == 1
    assert in_memory.describe()["weight_bytes"] == report["weight_bytes"] > 2 * checkpoint.num_parameters
    assert np.array_equal(exported.segment(features).boundaries, in_memory.segment(features).boundaries)
    explained = exported.explain(features)
    assert explained.importance.shape == (20, 2)
    with pytest.raises(UnsupportedError, match=r"compute_type of .*model\.onnx: expected one of auto, float16"):
        Engine.from_checkpoint(tmp_path / "model.onnx", compute_type="float32")
    with pytest.raises(UnsupportedError, match="backend of .*: expected one of auto, onnx, got 'native'"):
        Engine.from_checkpoint(tmp_path / "model.onnx", backend="native")
    plain = Engine.from_checkpoint(checkpoint, backend="onnx", passes=False)
    assert plain.describe()["passes"] == []
    assert plain.describe()["compute_type"] == "float32"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compute_type": "int8"}, "compute_type 'int8': ONNX supports float32, float16, bfloat16"),
        ({"compute_type": "bfloat16"}, "compute_type 'bfloat16': onnxruntime .* with CPUExecutionProvider"),
        ({"device": "cuda"}, "device 'cuda': onnxruntime .* has no CUDAExecutionProvider, only .*CPU"),
        ({"num_threads": -1}, "num_threads"),
    ],
)
def test_what_is_not_there_is_refused(options: dict[str, Any], message: str) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and "device" in options:
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(UnsupportedError, match=message):
        Engine.from_checkpoint(random_checkpoint(small_config()), backend="onnx", **options)


def test_a_provider_that_does_not_start_is_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself goes on with the CPU."""
    cpu = onnxruntime.InferenceSession

    def broken(model: bytes, options: Any, providers: list[str]) -> Any:
        assert providers == ["CUDAExecutionProvider"]
        return cpu(model, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", broken)
    with pytest.raises(UnsupportedError, match="device 'cuda': CUDAExecutionProvider of onnxruntime .* did not start"):
        Engine.from_checkpoint(random_checkpoint(small_config()), backend="onnx", device="cuda")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnsupportedError, match=r"pip install 'megaseg\[onnx\]'"):
        Engine.from_checkpoint(random_checkpoint(small_config()), backend="onnx")


def test_features_that_overflow_are_refused() -> None:
    config = small_config()
    features = {name: np.full_like(x, 3e38) for name, x in random_features(config, 3).items()}
    with pytest.raises(FeatureError, match="overflow float32"):
        Engine.from_checkpoint(random_checkpoint(config), backend="onnx").logits(features)


def test_weights_that_overflow_float16_are_refused() -> None:
    tensors = dict(random_checkpoint(small_config()).tensors)
    tensors["modalities.clip.unimodal.0.linear1.weight"][3, 2] = 70_000
    with pytest.raises(CheckpointError, match="expected finite values in float16"):
        export_checkpoint(Checkpoint(small_config(), tensors), "float16")


@pytest.mark.parametrize("name", ["windows", "logits"])
def test_a_modality_named_as_an_input_or_output_is_refused(name: str) -> None:
    config = small_config(modalities=(Modality(name, 3),))
    with pytest.raises(UnsupportedError, match=f"modalities: .*'{name}'"):
        export(graph_of(random_checkpoint(config)), config)


def damage(model: Any, what: str) -> None:
    own = {entry.key: entry for entry in model.metadata_props}
    if what == "another model":
        del model.metadata_props[:]
    elif what == "a weight":
        weight = next(tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
        weight.raw_data = bytes(len(weight.raw_data))
    elif what == "a threshold":
        own["megaseg.config"].value = small_config(threshold=0.9).to_json()
    elif what == "an opset":
        model.opset_import[0].version = 18


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("another model", "expected an ONNX model by megaseg .*, got None"),
        ("a weight", "expected contents of SHA-256"),
        ("a threshold", "expected contents of SHA-256"),
        ("an opset", "expected contents of SHA-256"),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path: Path, what: str, message: str) -> None:
    model = export_checkpoint(random_checkpoint(small_config(threshold=0.4)), path=tmp_path / "model.onnx")
    Engine.from_checkpoint(tmp_path / "model.onnx")
    damage(model, what)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=rf"model\.onnx: {message}"):
        Engine.from_checkpoint(tmp_path / "model.onnx")


def test_truncated_files_and_flipped_bytes_end_in_an_error_or_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    config = small_config(modalities=(Modality("clip", 3),), hidden_size=4, num_heads=1)
    whole = export_checkpoint(random_checkpoint(config), path=path).SerializeToString()
    assert path.read_bytes() == whole
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 500, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"model\.onnx: expected"):
            load(path)
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, len(whole), 200):
        flipped = whole[position] ^ (1 << int(rng.integers(8)))
        path.write_bytes(whole[:position] + bytes([flipped]) + whole[position + 1 :])
        try:
            load(path)
        except CheckpointError as problem:
            refused += "model.onnx: expected" in str(problem)
    assert refused > 190  # the rest hit the producer's name


def test_compile_and_segment_from_the_command_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    code, out, _ = run("compile", "screenplay-scenes", "--target", "onnx", "-o", file, "--compute-type", "float16")
    assert code == 0
    assert "ONNX opset 17 in float16" in out
    assert "output logits.parts: float32 ['windows', 3, 2]" in out
    code, out, _ = run("compile", "screenplay-scenes", "--target", "onnx", "-o", file, "--json")
    report = json.loads(out)
    assert (report["bytes"], report["opset"], report["compute_type"]) == (file.stat().st_size, 17, "float32")
    assert report["inputs"]["windows"] == ["int64", "windows", 21]
    code, out, _ = run("info", file, "--json")
    assert (code, json.loads(out)["target"], json.loads(out)["config"]["max_length"]) == (0, "onnx", 21)
    code, out, _ = run("segment", "sample", "-c", file, "--json")
    _, expected, _ = run("segment", "sample", "-c", "screenplay-scenes", "--compute-type", "float32", "--json")
    assert code == 0
    got, wanted = (json.loads(text) for text in (out, expected))
    assert len(got["scenes"]) == len(wanted["scenes"])
    np.testing.assert_allclose(got["scores"], wanted["scores"], atol=1e-5)


def test_the_command_line_refuses_what_onnx_cannot_take(run: Run, scene_checkpoint: Path, tmp_path: Path) -> None:
    for arguments, message in [
        (("-o", tmp_path / "model.mseg"), "ends in .onnx"),
        (("-o", tmp_path / "m.onnx", "--isa", "avx2"), "isa: expected none for target onnx"),
        (("-o", tmp_path / "m.onnx", "--compute-type", "int8"), "ONNX supports float32"),
    ]:
        code, _, err = run("compile", scene_checkpoint, "--target", "onnx", *arguments)
        assert code == 2
        assert message in err.replace("\n", " ")
    assert list(tmp_path.glob("*m*.onnx")) == []
