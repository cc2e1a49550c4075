"""Windows of films of any length, with what is absent, left out and masked; and films that are refused."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pretraining import WIDTHS, film, with_tokens

from megaseg import Features
from megaseg.errors import FeatureError

torch = pytest.importorskip("torch")
from megaseg.training.recipes.pretrain.batches import Batch, Changes, Windows, masks  # noqa: E402
from megaseg.training.recipes.pretrain.checks import check_films  # noqa: E402
from megaseg.training.recipes.pretrain.films import Films, fitted  # noqa: E402
from megaseg.training.scaling import Scaling  # noqa: E402

LENGTH = 8
NAMES = tuple(WIDTHS)


def as_is() -> dict[str, Scaling]:
    return {name: Scaling(torch.full((width,), 1.0), torch.eye(width)) for name, width in WIDTHS.items()}


def windows(movies: Mapping[str, Features], language: str | None = None, share: float = 0.2) -> Windows:
    return Windows(Films.scaled(movies, as_is(), language), LENGTH, share, together=language is None)


def epoch(of: Windows, seed: int = 0, drop_share: float = 0.0, size: int = 3, neighbours: int = 1) -> list[Batch]:
    return list(of.training(size, neighbours, Changes(0.0, drop_share), torch.Generator().manual_seed(seed)))


def starts_of(batches: list[Batch], movie: Features) -> list[int]:
    """First shots of the windows, found by their first rows."""
    rows = movie.modalities["video"] - 1
    return sorted(
        int(np.flatnonzero((rows == first.numpy()).all(1))[0]) for b in batches for first in b.features["video"][:, 0]
    )


def test_windows_of_an_epoch_cover_the_film_and_stay_inside() -> None:
    movie = film(0, 30)
    seen = set()
    for seed in range(5):
        batches = epoch(windows({"a": movie}), seed)
        starts = starts_of(batches, movie)
        seen.add(tuple(starts))
        assert {shot for start in starts for shot in range(start, start + LENGTH)} == set(range(30))
        assert not any(batch.there for batch in batches)  # whole windows need no padding
    assert len(seen) > 1, "the phase is random"


@pytest.mark.parametrize("shots", [2, 7, 8, 9, 16, 17])
def test_films_of_any_length_have_windows(shots: int) -> None:
    movie = film(1, shots)
    batches = epoch(windows({"a": movie}))
    covered = {s + i for s in starts_of(batches, movie) for i in range(min(LENGTH, shots))}
    assert covered == set(range(shots))


def test_a_short_film_is_padded_beside_a_long_one() -> None:
    (batch,) = windows({"long": film(0, 8), "short": film(1, 5)}).fixed(9)
    assert batch.there["video"].tolist() == [[True] * 8, [True] * 5 + [False] * 3]
    assert not batch.said["video"][1, 5:].any()
    assert not batch.masked["video"][1, 5:].any()
    np.testing.assert_array_equal(batch.features["video"][1, 5:], -np.ones((3, 12)))  # zeros, scaled


def test_what_a_film_does_not_have_is_zeros_and_nothing_to_ask_for() -> None:
    (batch,) = windows({"a": film(0, 8, ("video",)), "b": film(1, 8)}).fixed(9)
    np.testing.assert_array_equal(batch.features["audio"][0], -np.ones((8, 9)))
    assert batch.said["audio"].tolist() == [[False] * 8, [True] * 8]
    assert batch.said["video"].all()
    silent = ~film(1, 8).modalities["language"].any(1)
    assert silent.any()
    assert (~batch.said["language"][1]).tolist() == silent.tolist()


def test_tokens_fall_into_the_shots_of_their_window() -> None:
    movie = with_tokens(film(0, 20))
    shots, tokens = movie.token_shots["language"], movie.modalities["language"]
    for batch in epoch(windows({"a": movie}, "language")):
        assert batch.shots is not None
        there = batch.there.get("language", torch.ones_like(batch.said["language"]))
        for number, first in enumerate(batch.features["video"][:, 0].numpy()):
            start = int(np.flatnonzero((movie.modalities["video"] - 1 == first).all(1))[0])
            own = (shots >= start) & (shots < start + LENGTH)
            np.testing.assert_array_equal(batch.features["language"][number][there[number]], tokens[own] - 1)
            assert batch.shots[number][there[number]].tolist() == (shots[own] - start).tolist()
            assert (batch.shots[number][~there[number]] == LENGTH).all()


def test_a_window_without_tokens_has_one_row_of_nothing_at_no_shot() -> None:
    (batch,) = windows({"silent": film(0, 8, ("video",)), "b": film(1, 8)}, "language").fixed(9)
    assert batch.there["language"][0].tolist() == [True] + [False] * (batch.said["language"].shape[1] - 1)
    assert batch.shots is not None
    assert (batch.shots[0] == LENGTH).all()
    assert not batch.said["language"][0].any()
    assert not batch.masked["language"][0].any()


def test_language_by_shot_is_a_token_where_it_is_not_zero() -> None:
    movie = film(0, 20)
    shots = np.flatnonzero(movie.modalities["language"].any(1)).astype(np.int32)
    given = {**movie.modalities, "language": movie.modalities["language"][shots]}
    tokens = Features(given, token_shots={"language": shots}, recipe=movie.recipe)
    for a, b in zip(*(windows({"a": own}, "language").fixed(2) for own in (movie, tokens)), strict=True):
        assert torch.equal(a.features["language"], b.features["language"])
        assert torch.equal(a.shots, b.shots)


def test_modalities_are_left_out_of_training_but_never_all() -> None:
    movies = {"a": film(0, 400, ("video", "audio")), "b": film(1, 400, ("video",))}
    batches = epoch(windows(movies), drop_share=0.5, size=1000)
    said = {name: torch.cat([b.said[name].any(1) for b in batches]) for name in ("video", "audio")}
    assert (said["video"] | said["audio"]).all()
    assert 0.05 < 1 - said["video"].float().mean() < 0.2  # half of the windows have both, a quarter of these lose it
    assert (batches[0].features["video"][~said["video"]] == -1).all()
    assert all(b.said["video"].all() for b in windows(movies).fixed(1000))


def test_a_share_of_the_tokens_is_masked() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.rand(400, 30, generator=generator) < 0.5
    drawn = masks(tokens, 0.2, generator)
    assert not (drawn & ~tokens).any()
    assert drawn.sum() / tokens.sum() == pytest.approx(0.2, abs=0.01)
    assert torch.equal(masks(tokens, 1.0, generator), tokens)
    assert not masks(tokens, 0.0, generator).any()
    pairs = torch.tensor([[True, True, False], [True, False, False]]).repeat(400, 1)
    assert masks(pairs, 0.2, generator).sum(1)[::2].eq(1).all(), "a window of two has one to predict"
    assert not masks(torch.zeros(3, 4, dtype=torch.bool), 1.0, generator).any()


def test_a_contextualizer_masks_shots_and_a_long_range_model_each_modality() -> None:
    movies = {"a": film(0, 200)}
    (whole,), (apart,) = (epoch(windows(movies, name), size=99) for name in (None, "language"))
    assert torch.equal(whole.masked["video"], whole.masked["audio"])
    assert not torch.equal(apart.masked["video"], apart.masked["audio"])


def test_validation_masks_are_the_same_every_time() -> None:
    of = windows({"a": film(0, 50)}, "language")
    for a, b in zip(of.fixed(2), of.fixed(2), strict=True):
        assert all(torch.equal(a.masked[name], b.masked[name]) for name in NAMES)


def test_neighbours_come_in_the_same_batch() -> None:
    movies = {name: film(k, 64) for k, name in enumerate("abcd")}
    owner = {float(row[0]): name for name, m in movies.items() for row in m.modalities["video"] - 1}

    def films_of(batch: Batch) -> set[str]:
        return {owner[float(value)] for value in batch.features["video"][:, 0, 0]}

    together = [len(films_of(b)) for b in epoch(windows(movies), size=4, neighbours=4)]
    apart = [len(films_of(b)) for b in epoch(windows(movies), size=4)]
    assert sum(together) < sum(apart)


def test_scalings_are_fitted_on_what_is_there() -> None:
    movies = {"a": film(0, 80), "b": film(1, 80, ("video",))}
    scaling = fitted(movies, NAMES, {})["language"]
    rows = movies["a"].modalities["language"]
    np.testing.assert_allclose(scaling.mean, rows[rows.any(1)].mean(0), rtol=1e-4)


def changed(**arrays: Any) -> Features:
    return Features({**film(2).modalities, **arrays}, recipe="toy/1")


CONSTANT = np.full((60, 9), 3, np.float32)
BAD: list[tuple[Mapping[str, Features], str]] = [
    ({}, "films: expected at least 2.*got none"),
    ({"a": film(0)}, "films: expected at least 2.*got only a"),
    ({"a": film(0), "b": film(1, 1)}, "b: expected at least 2 shots, got 1"),
    ({"a": film(0), "b": changed(audio=CONSTANT)}, "b: audio: expected rows that differ.*all 60"),
    ({"a": film(0), "b": changed(audio=np.ones((60, 5), np.float32))}, "b: audio: expected"),
    ({"a": film(0), "b": changed(video=film(2).modalities["video"][:, :5])}, "b: video: expected 12 .*a has, got 5"),
    ({"a": film(0), "b": changed(audio=np.ones((60, 9), np.int32))}, "b: audio: expected float32.*int32"),
    ({"a": film(0), "b": Features({"smell": np.eye(5, dtype=np.float32)}, recipe="toy/1")}, "b: expected any of"),
    ({"a": film(0), "b": Features(film(1).modalities)}, "b: expected features of recipe toy/1"),
    ({"a": film(0, 60, ("video",)), "b": film(1, 60, ("video",))}, "audio: expected a modality of some film"),
    ({"a": film(0), "b": with_tokens(film(1))}, "b: language: expected a row a shot, got tokens"),
]


@pytest.mark.parametrize(("movies", "message"), BAD)
def test_films_that_teach_nothing_are_refused_by_name(movies: Mapping[str, Features], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        check_films(movies, NAMES, None)


def test_good_films_pass_and_silence_is_no_constant() -> None:
    silent = changed(audio=np.zeros((60, 9), np.float32))
    assert check_films({"a": film(0), "b": silent, "c": with_tokens(film(1))}, NAMES, "language") == WIDTHS


def test_values_beyond_float32_are_named() -> None:
    huge = changed(audio=film(2).modalities["audio"] * np.float32(1e33))
    scaling = {**as_is(), "audio": Scaling(torch.zeros(9), 1e5 * torch.eye(9))}
    with pytest.raises(FeatureError, match="b: audio: expected values that float32 can scale"):
        Films.scaled({"a": film(0), "b": huge}, scaling, None)
    nothing = {name: changed(audio=np.zeros((60, 9), np.float32)) for name in "ab"}
    with pytest.raises(FeatureError, match="audio: expected at least 2 rows that are not zeros"):
        fitted(nothing, NAMES, {})


def test_places_of_elsewhere_are_spliced_in() -> None:
    movies = {name: film(k, 40 + k) for k, name in enumerate("abc")} | {"short": film(9, 3)}
    of = windows(movies)
    every = np.concatenate([m.modalities["video"] - 1 for m in movies.values()])
    ends = np.cumsum([m.num_shots for m in movies.values()]) - 1
    spliced = windows_seen = 0
    for batch in of.training(99, 1, Changes(splice_share=0.5), torch.Generator().manual_seed(3)):
        for number, gaps in enumerate(batch.gaps):
            rows = batch.features["video"][number].numpy()
            shots = [int(np.flatnonzero((every == row).all(1))[0]) for row in rows[: int(gaps.sum()) + 1]]
            expected = [b != a + 1 or a in ends for a, b in itertools.pairwise(shots)]
            assert batch.splices[number].tolist()[: len(expected)] == expected
            assert sum(expected) <= 3
            spliced, windows_seen = spliced + any(expected), windows_seen + 1
    assert 0.25 < spliced / windows_seen < 0.75
    assert not any(batch.splices.any() for batch in of.fixed(99))
    a, b = (torch.cat([batch.splices.flatten() for batch in of.fixed(99, 1.0)]) for _ in range(2))
    assert torch.equal(a, b)
    assert a.any()


def test_tokens_go_with_the_shots_that_are_spliced() -> None:
    movies = {name: with_tokens(film(k, 30), seed=k) for k, name in enumerate("ab")}
    shots_of = {
        tuple(token - 1): shot for m in movies.values() for token, shot in
        zip(m.modalities["language"], m.modalities["video"][m.token_shots["language"]], strict=True)
    }  # fmt: skip
    for batch in windows(movies, "language").training(
        9, 1, Changes(splice_share=1.0), torch.Generator().manual_seed(0)
    ):
        assert batch.splices.any()
        assert batch.shots is not None
        for number, token in (batch.shots < LENGTH).nonzero().tolist():
            shot = batch.features["video"][number, batch.shots[number, token]].numpy()
            own = batch.features["language"][number, token].numpy()
            np.testing.assert_array_equal(shot, shots_of[tuple(own)] - 1)
