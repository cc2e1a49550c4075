"""The reader on a random, small-vocabulary MiniLM: what it reads, what it learns, and who reads which movie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")

from safetensors.torch import save_file  # noqa: E402

from megaseg import cli  # noqa: E402
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError  # noqa: E402
from megaseg.evaluation.split import fold_of  # noqa: E402
from megaseg.features.screenplay import reader as reader_module  # noqa: E402
from megaseg.features.screenplay.reader import UNREAD, Reader, read_gaps  # noqa: E402
from megaseg.features.screenplay.screenplay import ACTION, DIALOGUE, Block, Screenplay  # noqa: E402
from megaseg.features.text.minilm import hidden_states, load_minilm, pad  # noqa: E402
from megaseg.training.recipes.reader import ReaderConfig, train_reader  # noqa: E402

WORDS = ["night", "house", "door", "opens", "walks", "street", "morning", "says", "hello", "goodbye", "looks"]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minilm")
    vocabulary = {"[UNK]": 0, "[CLS]": 101, "[SEP]": 102, "|": 1064, **{word: 200 + i for i, word in enumerate(WORDS)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    generator = torch.Generator().manual_seed(0)
    shapes = {"embeddings.word_embeddings": (1065, 384), "embeddings.position_embeddings": (64, 384),
              "embeddings.token_type_embeddings": (2, 384)}  # fmt: skip
    weights = {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    linears = {f"attention.self.{name}": (384, 384) for name in ("query", "key", "value")}
    linears |= {"attention.output.dense": (384, 384), "intermediate.dense": (1536, 384), "output.dense": (384, 1536)}
    for layer in range(6):
        for name, shape in linears.items():
            weights[f"encoder.layer.{layer}.{name}.weight"] = torch.randn(shape, generator=generator) / shape[1] ** 0.5
            weights[f"encoder.layer.{layer}.{name}.bias"] = torch.zeros(shape[0])
    norms = [f"encoder.layer.{n}.{part}.LayerNorm" for n in range(6) for part in ("attention.output", "output")]
    for name in ["embeddings.LayerNorm", *norms]:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = torch.ones(384), torch.zeros(384)
    save_file(weights, folder / "model.safetensors")
    return folder


def play(name: str, seed: int) -> Screenplay:
    """Scenes end where the next action says morning: a rule that words alone can carry."""
    rng = np.random.default_rng(seed)
    starts = rng.random(40) < 0.3
    texts = [f"{'morning' if start else 'looks'} {rng.choice(WORDS)} {rng.choice(WORDS)}" for start in starts]
    blocks = tuple(Block(ACTION, "", text) for text in texts)
    return Screenplay(name, blocks, np.r_[starts[1:], True].astype(np.uint8))


PLAYS = [play(f"movie {k}", k) for k in range(9)]


@pytest.fixture(scope="module")
def trained(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    path = tmp_path_factory.mktemp("reader") / "reader.safetensors"
    config = ReaderConfig(folds=2, epochs=6, batch_size=16, warmup_steps=4, negatives=1.0)
    precisions = train_reader(PLAYS, path, config, minilm=minilm)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    return path, precisions


def test_a_gap_holds_the_end_before_it_and_the_start_after_it(minilm: Path) -> None:
    _, tokenizer = load_minilm(minilm)
    blocks = [
        Block(ACTION, "", "night house"),
        Block(DIALOGUE, "ANNA", "hello"),
        Block(ACTION, "", " ".join(["door"] * 40)),
        Block(ACTION, "", "street"),
    ]
    gaps = read_gaps(blocks, tokenizer)
    assert [gap.row for gap in gaps] == [1, 2]  # a speech is never the start of a scene
    first, second = gaps
    name, hello, colon, bar, door = 0, 208, 0, 1064, 202
    assert first.ids[: first.before] == [101, 200, 201, bar, name, colon, hello, 102]
    assert first.ids[first.before :] == [door] * reader_module.AFTER + [102]
    assert second.ids[: second.before] == [101, *[door] * reader_module.BEFORE, 102]


def test_padding_changes_nothing(minilm: Path) -> None:
    weights, _ = load_minilm(minilm)

    def dense(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.nn.functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    alone = hidden_states(weights, *pad([[101, 201, 102]]), dense)
    together = hidden_states(weights, *pad([[101, 201, 102], [101, *[203] * 20, 102]]), dense)
    assert torch.allclose(alone[0], together[0, :3], atol=1e-5)


@pytest.mark.slow
def test_it_learns_from_the_words_alone(trained: tuple[Path, list[float]]) -> None:
    assert min(trained[1]) > 0.8  # chance is 0.3


@pytest.mark.slow
def test_a_training_movie_is_read_by_the_fold_that_has_not_seen_it(
    trained: tuple[Path, list[float]], minilm: Path
) -> None:
    reader = Reader(trained[0], minilm)
    single = [Reader(trained[0], minilm) for _ in range(2)]
    for fold, one in enumerate(single):
        one._adapters, one._folds = [one._adapters[fold]], {}
    known = PLAYS[0]
    np.testing.assert_allclose(reader.log_odds(known), single[fold_of(known.name, 2)].log_odds(known), atol=1e-6)
    new = Screenplay("a new movie", known.blocks, None)
    mean = np.mean([one.log_odds(new) for one in single], axis=0)
    np.testing.assert_allclose(reader.log_odds(new), mean, atol=1e-4)
    assert reader.log_odds(new)[-1] == UNREAD  # no gap follows the last block


@pytest.mark.slow
def test_an_interrupted_training_keeps_finished_folds(minilm: Path, tmp_path: Path) -> None:
    config = ReaderConfig(folds=2, epochs=1, warmup_steps=1, negatives=0.1)
    output = tmp_path / "reader.safetensors"
    first = train_reader(PLAYS, output, config, minilm=minilm)
    folder = tmp_path / "reader.safetensors.folds"
    folder.mkdir()
    adapters, _ = reader_module.load_reader(output)
    for fold, adapter in enumerate(adapters):
        save_file(adapter.state_dict(), folder / f"{fold}.safetensors")
    seen: list[int] = []
    assert train_reader(PLAYS, output, config, minilm=minilm, advance=seen.append) == pytest.approx(first, abs=0.05)
    assert not seen


@pytest.mark.slow
def test_the_command_trains_a_reader_from_scripts(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        scenes = [f"INT. HOUSE {k} - DAY\n\nmorning walks\n\nlooks street\n\nANNA\nhello\n" for k in range(4)]
        (tmp_path / f"script {number}.fountain").write_text("\n".join(scenes))
    scripts = [str(path) for path in sorted(tmp_path.glob("*.fountain"))]
    output = tmp_path / "reader.safetensors"
    options = ["-o", str(output), "--folds", "2", "--epochs", "1", "--encoder", str(minilm), "--json"]
    monkeypatch.setattr("sys.argv", ["megaseg", "train", "reader", *scripts, *options])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code
    assert len(json.loads(capsys.readouterr().out)["held_out_ap"]) == 2
    adapters, folds = reader_module.load_reader(output)
    assert len(adapters) == 2
    assert set(folds) == {f"script {number}" for number in range(6)}


def test_what_is_no_reader_is_refused(tmp_path: Path, minilm: Path) -> None:
    path = tmp_path / "reader.safetensors"
    with pytest.raises(CheckpointError, match=r"reader\.safetensors: expected a reader"):
        Reader(path, minilm)
    save_file({"fold.0.types": torch.zeros(2, 384)}, path, {"format": "megaseg-reader/1", "folds": "{}"})
    with pytest.raises(CheckpointError, match=r"reader\.safetensors: expected a reader"):
        Reader(path, minilm)
    with pytest.raises(UnsupportedError, match="expected all-MiniLM-L6-v2"):
        Reader(path, tmp_path)
    with pytest.raises(FeatureError, match="expected labelled screenplays in each of 3 folds"):
        train_reader(PLAYS[:1], path, ReaderConfig(), minilm=minilm)
