"""Mining on films that share planted scenes: these are found, the file is read back, and bad input is named."""

from __future__ import annotations

import contextlib
import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support import random_checkpoint
from themed_films import film, planted, subjects_of

from megaseg import Engine, Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.kernels import reference
from megaseg.pipelines.mined_pairs import MinedPairs, read_mined
from megaseg.pipelines.mining import best_blocks, long_enough, mine, similar_movies, unit_rows

WIDTH = 24


def identity(recipe: str | None = None) -> Checkpoint:
    """A movie encoder whose rows are its input, less its mean and at unit spread."""
    config = MovieEncoderConfig(
        "embedding", (Modality("picture", WIDTH),), hidden_size=WIDTH, num_layers=0, output_size=WIDTH, scale=9.0,
        recipe=recipe,
    )  # fmt: skip
    eye, ones, zeros = np.eye(WIDTH, dtype=np.float32), np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    tensors = {
        "modalities.picture.proj.weight": eye, "modalities.picture.proj.bias": zeros, "norm.weight": ones,
        "norm.bias": zeros, "output.weight": eye, "output.bias": zeros,
    }  # fmt: skip
    return Checkpoint(config, tensors)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.from_checkpoint(identity())


def test_planted_scenes_are_found(engine: Engine) -> None:
    movies = planted(4)
    done: list[int] = []
    pairs = [("planted00", "planted01"), ("planted02", "planted03"), ("planted03", "planted00")]
    mined = mine(movies, engine, pairs, "digest", share=0.01, advance=done.append)
    assert sum(done) == 3
    for a, b in pairs:
        own = mined.movies.tolist()
        numbers = [mined.names.index(a), mined.names.index(b)]
        first = mined.first[[movie == numbers for movie in own]]
        found = {(i // 9, j // 9) for i, j in first.tolist() if i % 9 == 0 == j % 9}
        there = [subjects_of(movies[name]) for name in (a, b)]
        expected = {(there[0].index(s), there[1].index(s)) for s in range(6)}
        assert found == expected
    assert mined.scores.max() < 1 + 1e-5


def test_pairs_are_the_reference_of_unit_rows(engine: Engine) -> None:
    movies = {str(k): Features({"picture": film(k, 0, 30 + k).modalities["picture"]}) for k in range(3)}
    wide = {
        name: Features({"picture": np.pad(movie.modalities["picture"], ((0, 0), (0, 12)))})
        for name, movie in movies.items()
    }
    pairs = [("2", "0"), ("0", "1")]
    mined = mine(wide, engine, pairs, "digest", share=0.3, limit=2)
    rows = {name: unit_rows(engine, movie) for name, movie in wide.items()}
    np.testing.assert_allclose(np.linalg.norm(rows["0"], axis=1), 1, atol=1e-6)
    expected = reference.scene_pairs([rows[a] for a, _ in pairs], [rows[b] for _, b in pairs], share=0.3)
    np.testing.assert_array_equal(mined.first, np.concatenate([own.first[:2] for own in expected]))
    np.testing.assert_array_equal(mined.movies[:2], [[2, 0]] * 2)
    np.testing.assert_allclose(mined.scores, np.concatenate([own.scores[:2] for own in expected]), atol=1e-6)


def test_similar_movies_are_the_nearest_by_the_encoder(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    centres = 3 * np.eye(WIDTH)[[0, 0, 5, 5, 5]]
    movies = {
        name: Features({"picture": (centre + 0.1 * rng.standard_normal((12, WIDTH))).astype(np.float32)})
        for name, centre in zip("abcde", centres, strict=True)
    }
    assert set(similar_movies(movies, engine, 1, least=0.9)) <= {("a", "b"), ("c", "d"), ("c", "e"), ("d", "e")}
    assert {frozenset(pair) for pair in similar_movies(movies, engine, 2, least=0.9)} == {
        frozenset(pair) for pair in ("ab", "cd", "ce", "de")
    }
    assert len(similar_movies(movies, engine, 99)) == 10
    with pytest.raises(FeatureError, match=r"least: expected a pair of movies of P\(similar\) 1.0 or more"):
        similar_movies(movies, engine, 1, least=1.0)
    with pytest.raises(FeatureError, match="movies: expected at least 2, got only a"):
        similar_movies({"a": movies["a"]}, engine)
    with pytest.raises(FeatureError, match="count: expected at least 1"):
        similar_movies(movies, engine, 0)


def test_the_file_is_read_back(engine: Engine, tmp_path: Path) -> None:
    movies = {
        name: dataclasses.replace(movie, times=np.stack([np.arange(54)] * 2, 1) + k, time_base=Fraction(1, 25))
        for k, (name, movie) in enumerate(planted(3).items())
    }
    mined = mine(movies, engine, [("planted00", "planted02")], "abc")
    mined.save(tmp_path / "p.npz")
    again = read_mined(tmp_path / "p.npz")
    for field in dataclasses.fields(MinedPairs):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(mined, field.name))
    again.require_movies(movies)
    again.require_encoder("abc")
    shorter = Features({"picture": movies["planted00"].modalities["picture"][:-1]})
    for own, message in [
        ({"planted00": movies["planted00"]}, "planted02 is not there"),
        (movies | {"planted00": shorter}, "planted00: expected the 54 shots that scene pairs were mined from, got 53"),
        (movies | {"planted00": movies["planted01"]}, "planted00: .*got other times"),
    ]:
        with pytest.raises(FeatureError, match=message):
            again.require_movies(own)
    again.require_movies(movies | {"planted00": dataclasses.replace(movies["planted00"], times=None, time_base=None)})
    with pytest.raises(FeatureError, match="expected those of encoder xyz, got those of abc"):
        again.require_encoder("xyz")


def test_damaged_files_are_named(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    mine(planted(2), engine, [("planted00", "planted01")], "abc").save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for k in range(60):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data if k % 2 else whole[: int(rng.integers(len(whole)))])
        with contextlib.suppress(FeatureError):  # nothing else comes of damage
            read_mined(path)
    path.write_bytes(whole)
    with np.load(path) as file:
        arrays = dict(file)
    for name, array, message in [
        ("format", np.array("other/1"), "expected the format"),
        ("first", arrays["first"] + 46, "expected scenes of 9 shots inside their movies"),
        ("movies", arrays["movies"] * 0, "expected pairs of two of 2 movies"),
        ("movies", arrays["movies"] + 0.5, "expected scene pairs of megaseg-scene-pairs/1"),
        ("scores", arrays["scores"][1:], "expected two movies, two shots and a score for each"),
        ("scores", arrays["scores"] * np.nan, "finite scores"),
        ("names", arrays["names"][:1], "for each of 1 movies"),
        ("window", np.zeros(3), "expected scene pairs of megaseg-scene-pairs/1"),
    ]:
        np.savez(path, **(arrays | {name: array}))
        with pytest.raises(FeatureError, match=message):
            read_mined(path)
    del arrays["cuts"]
    np.savez(path, **arrays)
    with pytest.raises(FeatureError, match="got no array 'cuts'"):
        read_mined(path)
    path.write_bytes(b"no archive")
    with pytest.raises(FeatureError, match=r"p.npz: expected scene pairs \(.npz\)"):
        read_mined(path)


def test_blocks_are_the_best_of_their_movies(engine: Engine) -> None:
    movies = planted(3)
    pairs = [("planted00", "planted01"), ("planted00", "planted02"), ("planted01", "planted02")]
    mined = mine(movies, engine, pairs, "digest")
    blocks = best_blocks(movies, engine, mined, 2)
    assert len({block.names for block in blocks}) == 2
    means = [float(block.similarities.mean()) for block in blocks]
    assert means[0] == pytest.approx(float(mined.scores.max()), abs=1e-5)
    assert means[0] >= means[1]
    assert blocks[0].similarities.shape == (9, 9)


def test_what_cannot_be_mined_is_named(engine: Engine) -> None:
    movies = planted(2)
    short = movies | {"planted01": Features({"picture": movies["planted01"].modalities["picture"][:8]})}
    for own, pairs, message in [
        (movies, [], "pairs: expected at least one pair of movies"),
        (movies, [("planted00", "other")], "pairs: expected movies that are there, got other"),
        (movies, [("planted00", "planted00")], "expected two movies, got planted00 with itself"),
        (short, [("planted00", "planted01")], "planted01: expected at least 9 shots, those of one scene, got 8"),
    ]:
        with pytest.raises(FeatureError, match=message):
            mine(own, engine, pairs, "digest")
    with pytest.raises(FeatureError, match="limit: expected at least 1"):
        mine(movies, engine, [("planted00", "planted01")], "digest", limit=0)
    left, names = long_enough(short)
    assert (list(left), names) == (["planted00"], ["planted01"])


def test_a_model_without_embeddings_is_refused() -> None:
    from support import small_config

    scenes = Engine.from_checkpoint(random_checkpoint(small_config()))
    with pytest.raises(UnsupportedError, match="embed: expected an encoder of shots"):
        mine(planted(2), scenes, [("planted00", "planted01")], "digest")
    with pytest.raises(UnsupportedError, match="movies: expected a model of family movie_encoder"):
        similar_movies(planted(2), scenes)
