"""From a source to features of its embedding: what they hold, whose they are, and who refuses them."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from films import shots, write_film
from shot_encoders import SCENE, contextualizer, film, long_range
from support import random_checkpoint, small_config

from megaseg import Engine, Features, load_features, save_checkpoint, save_features
from megaseg.engine.inputs.features import OtherRecipe
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError
from megaseg.features import VideoExtractor
from megaseg.features.video.similarity import RAW
from megaseg.pipelines import Pipeline
from megaseg.pipelines.embedding import Embedder, embedded, encoder_sha256, is_encoder

ENCODER = random_checkpoint(long_range())


def movie(shots: int = 20) -> Features:
    rows = film(ENCODER.config, shots)
    times = np.arange(shots)[:, None] * 10 + np.array([0, 10])
    own = Features.from_mapping({**rows, "times": times, "time_base": "1/24"})
    return dataclasses.replace(own, labels=np.ones(shots, np.uint8), words=np.ones((shots, 4), np.uint8))


def test_an_embedding_is_a_modality_with_all_else_as_it_was(tmp_path: Path) -> None:
    engine, digest = Engine.from_checkpoint(ENCODER), encoder_sha256(ENCODER)
    source = movie()
    made = embedded(engine, source, digest, keep=("language", "audio"))
    save_features(tmp_path / "a.npz", made)
    read = load_features(tmp_path / "a.npz")
    assert [*read.modalities] == ["embedding", "language", "audio"]
    assert np.array_equal(read.modalities["embedding"], engine.embed(source))
    assert np.array_equal(read.modalities["language"], source.modalities["language"])
    assert np.array_equal(read.token_shots["language"], source.token_shots["language"])
    assert read.recipe == f"embedding/{digest[:12]}"
    assert read.time_base == Fraction(1, 24)
    for name in ("times", "labels", "words"):
        assert np.array_equal(getattr(read, name), getattr(source, name))
    assert [*embedded(engine, source, digest).modalities] == ["embedding"]
    for name in ("colour", "embedding"):
        with pytest.raises(FeatureError, match=f"keep: expected some of video, audio, language, got '{name}'"):
            embedded(engine, source, digest, keep=(name,))


def test_a_digest_tells_functions_apart_and_not_files(tmp_path: Path) -> None:
    own = encoder_sha256(ENCODER)
    save_checkpoint(tmp_path / "a.safetensors", dataclasses.replace(ENCODER, metadata={"training": "{}"}))
    assert encoder_sha256(tmp_path / "a.safetensors") == own
    others = [random_checkpoint(long_range(), 1), dataclasses.replace(ENCODER, config=long_range(step=4))]
    assert own not in map(encoder_sha256, others)


def test_a_model_refuses_the_embeddings_of_another_encoder() -> None:
    made = embedded(Engine.from_checkpoint(ENCODER), movie(), encoder_sha256(ENCODER))
    head = small_config(modalities=(Modality("embedding", 72),), recipe=made.recipe)
    engine = Engine.from_checkpoint(random_checkpoint(head))
    assert engine.segment(made).num_shots == 20
    other = dataclasses.replace(made, recipe="embedding/0123456789ab")
    with pytest.raises(OtherRecipe, match=f"the checkpoint expects '{made.recipe}', the features are 'embedding/0123"):
        engine.segment(other)


def test_what_is_not_there_and_what_is_not_read() -> None:
    embedder = Embedder(ENCODER)
    source = movie()
    own = {"video": source.modalities["video"], "colour": np.ones((20, 3), np.float32)}
    made = embedder.embed(own)
    assert (made.absent, made.unread) == (("audio", "language"), ("colour",))
    zeros = {**own, "audio": np.zeros((20, 5), np.float32), "language": np.zeros((20, 6), np.float32)}
    assert np.array_equal(made.features.modalities["embedding"], Engine.from_checkpoint(ENCODER).embed(zeros))
    with pytest.raises(FeatureError, match=r"features: expected at least one of the modalities \['video', 'audio'"):
        embedder.embed({"colour": own["colour"]})


def test_a_compiled_encoder_is_the_same_encoder(tmp_path: Path) -> None:
    from megaseg.engine.backends.native.artefact import compile_checkpoint

    compile_checkpoint(ENCODER, tmp_path / "a.mseg", compute_type="float32")
    assert is_encoder(tmp_path / "a.mseg")
    made = Embedder(tmp_path / "a.mseg").embed(movie()).features
    own = Embedder(ENCODER, compute_type="float32").embed(movie()).features
    assert made.recipe == own.recipe
    assert np.array_equal(made.modalities["embedding"], own.modalities["embedding"])


def test_a_film_is_its_raw_features(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra video")
    path = write_film(tmp_path / "film.mp4", shots(96))
    films = VideoExtractor(cache=tmp_path, features=["colour", "motion"])
    from megaseg.media.video import Video

    raw = films.read(Video("film", path)).features(RAW)
    assert raw.recipe == RAW
    modalities = (Modality("colour", raw.modalities["colour"].shape[1]), Modality("audio", 4))
    config = dataclasses.replace(contextualizer(), modalities=modalities, recipe=RAW)
    made = Embedder(random_checkpoint(config), extractors=[films]).embed(path, keep=("motion",))
    assert [*made.features.modalities] == ["embedding", "motion"]
    assert made.features.num_shots == 8
    assert (made.absent, made.unread) == (("audio",), ("motion",))
    assert np.array_equal(made.features.times, raw.times)
    with pytest.raises(FeatureError, match="recipe: the checkpoint expects 'mine/1', film gives video-shots/1 or"):
        Embedder(random_checkpoint(dataclasses.replace(config, recipe="mine/1")), extractors=[films]).embed(path)


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="embed: expected an encoder of shots.*got a model of task scene"):
        Embedder(random_checkpoint(small_config()))
    with pytest.raises(CheckpointError, match="none: expected a .safetensors"):
        Embedder("none")
    from megaseg.engine.backends.native.artefact import compile_checkpoint

    compile_checkpoint(random_checkpoint(small_config()), tmp_path / "a.mseg", compute_type="float32")
    with pytest.raises(UnsupportedError, match="a.mseg: expected the digest of an encoder, content_sha256"):
        Embedder(tmp_path / "a.mseg")
    assert not is_encoder(tmp_path / "a.mseg")
    for config, embeds in ((long_range(), True), (long_range(**SCENE), False), (small_config(), False)):
        save_checkpoint(tmp_path / "b.safetensors", random_checkpoint(config))
        assert is_encoder(tmp_path / "b.safetensors") == embeds
    Embedder(random_checkpoint(long_range(**SCENE)))  # has an embedding besides its scenes


def test_a_result_says_what_a_scene_model_read_as_zeros() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(long_range(**SCENE)))
    source = movie()
    pipeline = Pipeline([engine])
    assert pipeline.segment(source).to_json() == engine.segment(source).to_json()
    own = {"video": source.modalities["video"]}
    for result in (pipeline.segment(own), *pipeline.segment_many([own])):
        assert result.remarks == ("audio, language: not there, read as zeros",)
        assert np.array_equal(result.scores, engine.segment(own).scores)
