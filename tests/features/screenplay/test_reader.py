"""The reader on a random, small encoder: what it reads, what it computes, what it learns, and who reads which movie."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import BAR, CLS, SEP, WORDS, Sizes, Tensors, dense_of, hidden, write_encoder
from safetensors.numpy import save_file

from megaseg import cli
from megaseg.engine.backends.native.extension import extension
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError
from megaseg.evaluation.split import fold_of
from megaseg.features.screenplay import reader as reader_module
from megaseg.features.screenplay.reader import (
    HEAD_SIZE,
    LAYERS,
    UNREAD,
    Gap,
    Reader,
    gap_tokenizer,
    read_gaps,
    reader_shapes,
)
from megaseg.features.screenplay.screenplay import ACTION, DIALOGUE, Block, Screenplay

pytest.importorskip("tokenizers")

SIZES = Sizes(hidden=48, ffn=80, heads=4, layers=6)
FOLDS = 2


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder, SIZES)
    return folder


def play(name: str, seed: int) -> Screenplay:
    """Scenes end where the next action says morning: a rule that words alone can carry."""
    rng = np.random.default_rng(seed)
    starts = rng.random(40) < 0.3
    texts = [f"{'morning' if start else 'looks'} {rng.choice(WORDS)} {rng.choice(WORDS)}" for start in starts]
    blocks = tuple(Block(ACTION, "", text) for text in texts)
    return Screenplay(name, blocks, np.r_[starts[1:], True].astype(np.uint8))


PLAYS = [play(f"movie {k}", k) for k in range(9)]
KNOWN = {"movie 0": 1, "movie 1": 0}  # who held out which movie


def write_reader(path: Path, metadata: dict[str, str] | None = None, *, count: int = FOLDS) -> Tensors:
    """A random reader file; returns its tensors."""
    rng = np.random.default_rng(0)
    tensors = {
        f"fold.{number}.{name}": (
            rng.standard_normal(shape) / math.sqrt(shape[-1]) * (4 if "head" in name else 0.5)
        ).astype(np.float16)
        for number in range(count)
        for name, shape in reader_shapes(SIZES.hidden, SIZES.ffn).items()
    }
    save_file(tensors, path, {"format": "megaseg-reader/1", "folds": json.dumps(KNOWN), **(metadata or {})})
    return tensors


def log_odds(base: Tensors, tensors: Tensors, gap: Gap, fold: int) -> float:
    """A fold's log-odds of a gap in float64: W x + B A x with W in bfloat16, as training has it."""
    own = {name.removeprefix(f"fold.{fold}."): value.astype(float) for name, value in tensors.items()}
    narrow = {name: reader_module.bfloat16(value) if name.startswith("encoder") and "LayerNorm" not in name else value
              for name, value in base.items()}  # fmt: skip
    plain = dense_of(narrow)

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        key = f"lora.{name.replace('.', '_')}"
        return plain(x, name) + x @ own[f"{key}_a"].T @ own[f"{key}_b"].T

    after = (np.arange(len(gap.ids)) >= gap.before).astype(int)
    types = base["embeddings.token_type_embeddings.weight"][0] + own["types"][after]
    rows = hidden(narrow, gap.ids, types, heads=SIZES.heads, layers=LAYERS, dense=dense)
    pooled = np.concatenate([rows[after == side].mean(axis=0) for side in (0, 1)])
    inner = own["head.0.weight"] @ pooled + own["head.0.bias"]
    gelu = inner / 2 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    return float((own["head.2.weight"] @ gelu + own["head.2.bias"])[0])


def test_a_gap_holds_the_end_before_it_and_the_start_after_it(encoder: Path) -> None:
    blocks = [
        Block(ACTION, "", "night house"),
        Block(DIALOGUE, "ANNA", "hello"),
        Block(ACTION, "", " ".join(["door"] * 40)),
        Block(ACTION, "", "street"),
    ]
    gaps = read_gaps(blocks, gap_tokenizer(encoder))
    assert [gap.row for gap in gaps] == [1, 2]  # a speech is never the start of a scene
    first, second = gaps
    name, hello, colon, door = 0, 208, 0, 202
    assert first.ids[: first.before] == [CLS, 200, 201, BAR, name, colon, hello, SEP]
    assert first.ids[first.before :] == [door] * reader_module.AFTER + [SEP]
    assert second.ids[: second.before] == [CLS, *[door] * reader_module.BEFORE, SEP]


@pytest.mark.parametrize("kind", extension().compute_types())
def test_log_odds_are_those_of_the_formula(kind: str, encoder: Path, tmp_path: Path) -> None:
    base, path = write_encoder(tmp_path / "encoder", SIZES), tmp_path / "reader.safetensors"
    tensors = write_reader(path)
    reader, tokenizer = Reader(path, encoder, compute_type=kind, num_threads=3), gap_tokenizer(encoder)
    for name, folds in (("movie 0", [1]), ("movie 1", [0]), ("a new movie", [0, 1])):
        movie = Screenplay(name, PLAYS[4].blocks[:12], None)
        expected = np.full(12, UNREAD)
        for gap in read_gaps(movie.blocks, tokenizer):
            expected[gap.row] = np.mean([log_odds(base, tensors, gap, fold) for fold in folds])
        got = reader.log_odds(movie)
        assert got[-1] == UNREAD  # no gap follows the last block
        assert np.abs(got - expected).max() < {"float32": 1e-5, "bfloat16": 0.2, "int8": 0.5}.get(kind, 0.2)
        assert np.ptp(expected[:-1]) > 0.2


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_other_backends_read_the_same(backend: str, encoder: Path, tmp_path: Path) -> None:
    pytest.importorskip({"torch": "torch", "onnx": "onnxruntime"}[backend])
    write_reader(tmp_path / "reader.safetensors")
    own, other = (
        Reader(tmp_path / "reader.safetensors", encoder, compute_type="float32", backend=name).log_odds(PLAYS[5])
        for name in ("native", backend)
    )
    np.testing.assert_allclose(own, other, atol=1e-5)


def test_shipped_folds_are_those_of_their_movies() -> None:
    try:
        file = reader_module.ReaderFile(reader_module.shipped_reader())
    except UnsupportedError as error:
        pytest.skip(str(error))
    assert file.num_folds == 3
    assert len(file.folds) == 73
    assert all(fold == fold_of(name, 3) for name, fold in file.folds.items())


def test_what_is_no_reader_is_refused(tmp_path: Path, encoder: Path) -> None:
    path = tmp_path / "reader.safetensors"
    refused = pytest.raises(CheckpointError, match=r"reader\.safetensors: expected a reader")
    with refused:
        Reader(path, encoder)
    save_file({"fold.0.types": np.zeros((2, 48), np.float32)}, path, {"format": "megaseg-reader/1", "folds": "{}"})
    with refused:
        Reader(path, encoder)
    write_reader(path, count=1)  # "movie 0" says fold 1
    with refused:
        Reader(path, encoder)
    for metadata in ({"format": "megaseg-reader/2"}, {"folds": "[1]"}, {"folds": '{"a": []}'}, {"folds": "{"}):
        write_reader(path, metadata)
        with refused:
            Reader(path, encoder)
    write_reader(path)
    with pytest.raises(UnsupportedError, match="expected a folder"):
        Reader(path, tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Reader(path, tmp_path)
    write_encoder(tmp_path / "other", Sizes(hidden=24, ffn=80, heads=4, layers=6))
    with refused:
        Reader(path, tmp_path / "other")


@pytest.fixture(scope="module")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    training = pytest.importorskip("megaseg.training.recipes.reader")
    path = tmp_path_factory.mktemp("reader") / "reader.safetensors"
    config = training.ReaderConfig(folds=2, epochs=6, batch_size=16, warmup_steps=4, negatives=1.0)
    precisions = training.train_reader(PLAYS, path, config, encoder=encoder)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    return path, precisions


def torch_log_odds(path: Path, encoder: Path, movie: Screenplay, fold: int) -> np.ndarray:
    """A fold's log-odds by the twin that was trained."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from megaseg.models.reader import Adapter, Base

    adapter = Adapter(Base(encoder))
    own = {name: value.float() for name, value in load_file(path).items() if name.startswith(f"fold.{fold}.")}
    adapter.load_state_dict({name.removeprefix(f"fold.{fold}."): value for name, value in own.items()})
    with torch.inference_mode():
        return adapter.eval()(read_gaps(movie.blocks, gap_tokenizer(encoder))).numpy()


@pytest.mark.slow
def test_it_learns_from_the_words_alone(trained: tuple[Path, list[float]]) -> None:
    assert min(trained[1]) > 0.8  # chance is 0.3


@pytest.mark.slow
def test_a_training_movie_is_read_by_the_fold_that_has_not_seen_it(
    trained: tuple[Path, list[float]], encoder: Path
) -> None:
    reader, known = Reader(trained[0], encoder, compute_type="float32"), PLAYS[0]
    folds = [torch_log_odds(trained[0], encoder, known, fold) for fold in range(2)]
    np.testing.assert_allclose(reader.log_odds(known)[:-1], folds[fold_of(known.name, 2)], atol=0.1)
    assert np.abs(folds[0] - folds[1]).max() > 0.3
    new = Screenplay("a new movie", known.blocks, None)
    np.testing.assert_allclose(reader.log_odds(new)[:-1], np.mean(folds, axis=0), atol=0.1)


@pytest.mark.slow
def test_an_interrupted_training_keeps_finished_folds(encoder: Path, tmp_path: Path) -> None:
    training = pytest.importorskip("megaseg.training.recipes.reader")
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file
    from safetensors.torch import save_file as save_torch

    config = training.ReaderConfig(folds=2, epochs=1, warmup_steps=1, negatives=0.1)
    output = tmp_path / "reader.safetensors"
    first = training.train_reader(PLAYS, output, config, encoder=encoder)
    folder = tmp_path / "reader.safetensors.folds"
    folder.mkdir()
    for fold in range(2):
        own: dict[str, Any] = {name.removeprefix(f"fold.{fold}."): value.to(torch.float32)
                               for name, value in load_file(output).items() if f"fold.{fold}." in name}  # fmt: skip
        save_torch(own, folder / f"{fold}.safetensors")
    seen: list[int] = []
    assert training.train_reader(PLAYS, output, config, encoder=encoder, advance=seen.append) == pytest.approx(
        first, abs=0.05
    )
    assert not seen


@pytest.mark.slow
def test_the_command_trains_a_reader_from_scripts(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    for number in range(6):
        scenes = [f"INT. HOUSE {k} - DAY\n\nmorning walks\n\nlooks street\n\nANNA\nhello\n" for k in range(4)]
        (tmp_path / f"script {number}.fountain").write_text("\n".join(scenes))
    scripts = [str(path) for path in sorted(tmp_path.glob("*.fountain"))]
    output = tmp_path / "reader.safetensors"
    options = ["-o", str(output), "--folds", "2", "--epochs", "1", "--encoder", str(encoder), "--json"]
    monkeypatch.setattr("sys.argv", ["megaseg", "train", "reader", *scripts, *options])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code
    assert len(json.loads(capsys.readouterr().out)["held_out_ap"]) == 2
    file = reader_module.ReaderFile(output, encoder)
    assert (file.num_folds, set(file.folds)) == (2, {f"script {number}" for number in range(6)})


def test_training_needs_labelled_movies_in_every_fold(encoder: Path, tmp_path: Path) -> None:
    training = pytest.importorskip("megaseg.training.recipes.reader")
    with pytest.raises(FeatureError, match="expected labelled screenplays in each of 3 folds"):
        training.train_reader(PLAYS[:1], tmp_path / "reader.safetensors", training.ReaderConfig(), encoder=encoder)


def test_a_hidden_layer_is_what_the_file_says() -> None:
    shapes = reader_shapes(SIZES.hidden, SIZES.ffn)
    assert shapes["head.0.weight"] == (HEAD_SIZE, 2 * SIZES.hidden)
    assert len(shapes) == LAYERS * 12 + 5
