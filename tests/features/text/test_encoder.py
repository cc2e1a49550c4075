"""Text encoders in every backend, target and type against float64, and the real all-MiniLM-L6-v2 where it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import CLS, SEP, WORDS, Sizes, embedding, write_encoder, write_modules

from megaseg import save_checkpoint
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.extension import extension
from megaseg.engine.backends.protocol import Excerpt
from megaseg.engine.loading import load_backend
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError
from megaseg.features.text.encoder import Encoder
from megaseg.features.text.pretrained import load_pretrained

pytest.importorskip("tokenizers")

LENGTHS = (2, 3, 17, 70, 31, 9)
SIZES = Sizes()
TEXTS = ["A car stops in the rain.", "An automobile halts during a storm.", "She loves him.", "", "word " * 400]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder")
    write_encoder(path)
    return path


def ids_of(length: int) -> np.ndarray:
    inner = np.random.default_rng(length).integers(0, SIZES.vocabulary, length - 2)
    return np.array([CLS, *inner, SEP], np.int32)


def worst(backend: Any, tensors: Any, **how: str) -> float:
    """The largest error over texts of several lengths, together and alone; each must have the same bits in both."""
    texts = [Excerpt.whole([ids_of(length)[:, None]]) for length in LENGTHS]
    together = backend.run(texts, ("embedding",))
    found = 0.0
    for length, text, (vector,) in zip(LENGTHS, texts, together, strict=True):
        ((alone,),) = backend.run([text], ("embedding",))
        expected = embedding(tensors, ids_of(length), SIZES, **how)
        assert vector.shape == alone.shape == (1, SIZES.hidden)
        if isinstance(backend, NativeBackend):
            np.testing.assert_array_equal(alone, vector)
        found = max(found, *(float(np.abs(own[0] - expected).max()) for own in (vector, alone)))
    return found


def backend_of(checkpoint: Checkpoint, **changes: Any) -> Any:
    options = {"device": "auto", "compute_type": "auto", "num_threads": 0, "memory_limit": None, "passes": True}
    return load_backend(checkpoint, **{**options, "backend": "auto", **changes}).backend  # type: ignore[arg-type]


@pytest.mark.parametrize("target", extension().available_targets())
@pytest.mark.parametrize("passes", [True, False])
def test_native_on_every_target(target: str, passes: bool, tmp_path: Path) -> None:
    tensors = write_encoder(tmp_path, seed=1)
    checkpoint = load_pretrained(tmp_path)
    tolerances = {"float32": 1e-6, "bfloat16": 0.01, "int8": 0.04, "int8_float32": 0.01, "int8_bfloat16": 0.01}
    for kind in extension().compute_types(target):
        options: dict[str, Any] = {"compute_type": kind, "target": target, "num_threads": 3}
        backend = NativeBackend.from_checkpoint(checkpoint, **options, **({} if passes else {"passes": ()}))
        assert worst(backend, tensors) < tolerances[kind]


@pytest.mark.parametrize(("backend", "tolerance"), [("torch", 2e-6), ("onnx", 2e-6)])
@pytest.mark.parametrize("passes", [True, False])
def test_other_backends(backend: str, tolerance: float, passes: bool, tmp_path: Path) -> None:
    pytest.importorskip({"torch": "torch", "onnx": "onnxruntime"}[backend])
    tensors = write_encoder(tmp_path, seed=2)
    assert worst(backend_of(load_pretrained(tmp_path), backend=backend, passes=passes), tensors) < tolerance


def test_torch_in_float64_is_the_same_function(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    tensors = write_encoder(tmp_path, seed=3)
    checkpoint = load_pretrained(tmp_path)
    assert worst(backend_of(checkpoint, backend="torch", compute_type="float64"), tensors) < 1e-7  # float32 comes out


@pytest.mark.parametrize("pooling", ["pooling_mode_mean_tokens", "pooling_mode_cls_token"])
@pytest.mark.parametrize("normalise", [True, False])
def test_pooling_and_norm_are_the_modules_own(pooling: str, normalise: bool, tmp_path: Path) -> None:
    tensors = write_encoder(tmp_path, seed=4, prefix="bert.")
    write_modules(tmp_path, pooling=pooling, normalise=normalise)
    own = {"pooling": "mean" if "mean" in pooling else "first", "norm": "l2" if normalise else "none"}
    assert worst(backend_of(load_pretrained(tmp_path), compute_type="float32"), tensors, **own) < 1e-5


def test_a_memory_limit_changes_no_bit(folder: Path) -> None:
    texts = [" ".join(WORDS[: 1 + i % len(WORDS)]) for i in range(300)]
    free = Encoder.from_checkpoint(folder, compute_type="float32")
    parts = free.describe()
    least = parts["weight_bytes"] + parts["workspace_bytes"] // 2
    small = Encoder.from_checkpoint(folder, compute_type="float32", memory_limit=least)
    assert small.describe()["workspace_bytes"] <= least - parts["weight_bytes"]
    np.testing.assert_array_equal(free.encode(texts), small.encode(texts))


def test_an_encoder_travels_in_one_file(folder: Path, tmp_path: Path) -> None:
    checkpoint = load_pretrained(folder)
    save_checkpoint(tmp_path / "encoder.safetensors", checkpoint)
    compile_checkpoint(checkpoint, tmp_path / "encoder.mseg", compute_type="float32")
    texts = ["night house", "door opens street", ""]
    vectors = Encoder.from_checkpoint(folder, compute_type="float32").encode(texts)
    for name in ("encoder.safetensors", "encoder.mseg"):
        kind = "auto" if name.endswith("mseg") else "float32"
        np.testing.assert_array_equal(
            Encoder.from_checkpoint(tmp_path / name, compute_type=kind).encode(texts), vectors
        )


def test_a_compiled_encoder_is_kept_until_its_files_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGASEG_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "encoder"
    write_encoder(own, seed=5)
    first = Encoder.from_checkpoint(own, compute_type="float32").encode(["night"])
    Encoder.from_checkpoint(own, compute_type="float32")
    assert len(list((tmp_path / "cache").glob("*.mseg"))) == 1
    write_encoder(own, seed=6)
    assert np.abs(Encoder.from_checkpoint(own, compute_type="float32").encode(["night"]) - first).max() > 0.01
    assert len(list((tmp_path / "cache").glob("*.mseg"))) == 2


def test_texts_longer_than_the_model_end_where_it_ends(folder: Path) -> None:
    encoder, counts = Encoder.from_checkpoint(folder), []
    vectors = encoder.encode(["night " * 500, "night " * 68, "night " * 67], counts.append)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[1] - vectors[2]).max() > 0
    assert counts == [3]
    assert encoder.encode([]).shape == (0, SIZES.hidden)


@pytest.mark.parametrize("texts", ["one text", [b"bytes"], [None]])
def test_what_is_no_list_of_texts_is_refused(folder: Path, texts: Any) -> None:
    with pytest.raises(FeatureError, match="texts: expected a list of texts"):
        Encoder.from_checkpoint(folder).encode(texts)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


FAULTS = {
    "hidden_act": (UnsupportedError, "hidden_act: expected 'gelu', got 'relu'", {"hidden_act": "relu"}),
    "model": (UnsupportedError, "model_type: expected 'bert', got 'roberta'", {"model_type": "roberta"}),
    "number": (CheckpointError, "expected a number for vocab_size, got 'many'", {"vocab_size": "many"}),
    "shape": (CheckpointError, r"word_embeddings.weight: expected shape \(999, 36\), got \(1065, 36\)",
              {"vocab_size": 999}),
    "positions": (CheckpointError, r"position_embeddings.weight: expected shape \(71, 36\), got \(70, 36\)",
                  {"max_position_embeddings": 71}),
    "layers": (CheckpointError, "encoder.layer.5.attention.self.query.weight: expected shape .*, got no tensor",
               {"num_hidden_layers": 6}),
    "heads": (CheckpointError, "hidden_size must be a multiple of num_heads, got 36 and 5", {"num_attention_heads": 5}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_config_that_does_not_fit_is_named(fault: str, tmp_path: Path) -> None:
    kind, message, changes = FAULTS[fault]
    write_encoder(tmp_path)
    change(tmp_path / "config.json", **changes)
    with pytest.raises(kind, match=message):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_files_that_are_missing_or_broken_are_named(name: str, tmp_path: Path) -> None:
    write_encoder(tmp_path)
    for content in (b"no such content", None):
        (tmp_path / name).unlink()
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name.split(".")[0]):
            Encoder.from_checkpoint(tmp_path)


def test_other_modules_are_refused(tmp_path: Path) -> None:
    write_encoder(tmp_path)
    write_modules(tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedError, match="expected Transformer, Pooling, perhaps Normalize, got .*Dense"):
        load_pretrained(tmp_path)
    write_modules(tmp_path, pooling="pooling_mode_max_tokens")
    with pytest.raises(UnsupportedError, match="pooling_mode_max_tokens"):
        load_pretrained(tmp_path)


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a text encoder with its tokenizer, got family mega"):
        Encoder.from_checkpoint("screenplay-scenes")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Encoder.from_checkpoint(tmp_path)
    with pytest.raises(UnsupportedError, match="expected a folder"):
        load_pretrained(tmp_path / "nowhere")


def test_ids_beyond_the_vocabulary_are_refused(folder: Path) -> None:
    backend = backend_of(load_pretrained(folder))
    with pytest.raises(FeatureError, match=r"expected ids from 0 to 1064 in tokens, got 1065 in row 1"):
        backend.run([Excerpt.whole([np.array([[1], [1065]], np.int32)])], ("embedding",))


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    try:
        return Encoder.from_checkpoint(compute_type="float32")
    except UnsupportedError as error:
        pytest.skip(str(error))


def test_vectors_are_unit_and_mean_what_they_say(minilm: Encoder) -> None:
    vectors = minilm.encode(TEXTS)
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6 > 0.3 > vectors[0] @ vectors[2]


def test_narrow_types_are_close(minilm: Encoder) -> None:
    for kind, least in (("bfloat16", 0.999), ("int8", 0.96)):
        if kind in extension().compute_types():
            coarse = Encoder.from_checkpoint(compute_type=kind).encode(TEXTS)
            assert ((coarse * minilm.encode(TEXTS)).sum(1) > least).all()


def test_minilm_equals_torch(minilm: Encoder) -> None:
    pytest.importorskip("torch")
    expected = Encoder.from_checkpoint(backend="torch", compute_type="float32").encode(TEXTS)
    np.testing.assert_allclose(minilm.encode(TEXTS), expected, atol=2e-6)
