"""Pictures of explanations: what is drawn, read back from the figure before it is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import random_checkpoint, random_features, small_config

from megaseg import Engine
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.results.explanation import Explanation
from megaseg.engine.results.segmentation import joined
from megaseg.errors import FeatureError
from megaseg.report.plots import draw_track, plot_attention, plot_importance, plot_segmentation, plot_synchronisation
from megaseg.report.text import visible

figures = pytest.importorskip("matplotlib.figure")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved."""
    seen: list[Any] = []
    save = figures.Figure.savefig

    def keep(self: Any, *arguments: Any, **options: Any) -> None:
        seen.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(figures.Figure, "savefig", keep)
    return seen


def explanation(task: str, shots: int = 60) -> Explanation:
    engine = Engine.from_checkpoint(random_checkpoint(small_config(task, max_length=61)), compute_type="float32")
    return engine.explain(random_features(engine.config, shots))


def bars(axes: Any) -> np.ndarray:
    """Widths (bars, modalities)."""
    return np.array([[bar.get_width() for bar in container] for container in axes.containers]).T


def test_every_track_is_a_row_of_its_own(tmp_path: Path, drawn: list[Any]) -> None:
    config = small_config("scene", max_length=5)
    parts = [
        Engine.from_checkpoint(random_checkpoint(small_config(task))).segment(random_features(config, 30))
        for task in ("scene", "act")
    ]
    result = joined(parts)
    plot_segmentation(result, tmp_path / "movie.png", title="a movie")
    upper, lower = drawn[0].axes
    assert (upper.get_title(), upper.get_xlabel(), lower.get_xlabel()) == ("a movie", "", "shot")
    assert [axes.get_ylabel() for axes in (upper, lower)] == ["P(boundary)", "P(turning point)"]
    names = [text.get_text() for text in lower.get_legend().texts]
    assert names == [point.name for point in result.turning_points]
    assert drawn[0].get_size_inches().tolist() == [11, 5.2]
    for part, label in zip(parts, ("P(boundary)", "P(turning point)"), strict=True):
        plot_segmentation(part, tmp_path / "one.png")
        (axes,) = drawn[-1].axes
        assert (axes.get_ylabel(), axes.get_xlabel()) == (label, "shot")
        assert len(axes.patches) == len(next(iter(part.tracks.values())).segments)


def test_bars_are_the_importance_of_turning_points(tmp_path: Path, drawn: list[Any]) -> None:
    result = explanation("act")
    plot_importance(result, tmp_path / "importance.png", title="a movie")
    (axes,) = drawn[0].axes
    np.testing.assert_allclose(bars(axes), result.importance, atol=1e-6)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [label.split("\n")[0] for label in labels] == list(result.names)
    assert drawn[0].get_suptitle() == "a movie"
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["clip", "audio"]
    assert (tmp_path / "importance.png").read_bytes().startswith(b"\x89PNG")


def test_bars_of_a_scene_model_are_means_then_the_surest_then_the_closest(tmp_path: Path, drawn: list[Any]) -> None:
    result = explanation("scene")
    plot_importance(result, tmp_path / "importance.png")
    boundary = np.array(result.names) == "boundary"
    scores = result.segmentation.scores
    surest = sorted(np.argsort(-scores)[:5].tolist())
    others = [shot for shot in np.argsort(np.abs(scores - 0.5)).tolist() if shot not in surest]
    expected = [result.importance[boundary].mean(axis=0), result.importance[~boundary].mean(axis=0)]
    expected += list(result.importance[surest + sorted(others[:4])])
    np.testing.assert_allclose(bars(drawn[0].axes[0]), expected, atol=1e-6)


def test_bars_of_chosen_shots(tmp_path: Path, drawn: list[Any]) -> None:
    result = explanation("scene")
    plot_importance(result, tmp_path / "importance.png", shots=[7, 3])
    np.testing.assert_allclose(bars(drawn[0].axes[0])[2:], result.importance[[7, 3]], atol=1e-6)
    with pytest.raises(FeatureError, match="shots: expected from 0 to 59, got 60"):
        plot_importance(result, tmp_path / "importance.png", shots=[60])
    with pytest.raises(FeatureError, match="shots: expected none with turning points"):
        plot_importance(explanation("act"), tmp_path / "importance.png", shots=[0])
    with pytest.raises(FeatureError, match="expected a picture ending in"):
        plot_importance(result, tmp_path / "importance.gif")


def test_a_decision_that_no_modality_speaks_for_says_so(tmp_path: Path, drawn: list[Any]) -> None:
    result = explanation("act")
    result.importance[2] = 0
    plot_importance(result, tmp_path / "importance.png")
    said = [text for text in drawn[0].axes[0].texts if text.get_text() == "no modality speaks for it"]
    assert [text.get_position()[1] for text in said] == [2]


@pytest.mark.parametrize(("modalities", "shot"), [(1, None), (3, 12), (4, None)])
def test_heat_maps_are_scores_over_their_largest(
    tmp_path: Path, drawn: list[Any], modalities: int, shot: int | None
) -> None:
    rng = np.random.default_rng(0)
    scores = {f"m{i}": rng.random((7, 2 * modalities + 7), dtype=np.float32) for i in range(modalities)}
    plot_attention(scores, tmp_path / "attention.png", shot=shot)
    *maps, _ = drawn[0].axes  # the last one is the colour bar
    assert [axes.get_title() for axes in maps] == list(scores)
    for axes, values in zip(maps, scores.values(), strict=True):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), values / values.max())
        assert image.get_clim() == (0, 1)
        assert len(axes.lines) == modalities  # the ends of each modality's bottleneck tokens
        assert axes.get_ylim() == ((6.5, -0.5) if shot is None else (3.5, -3.5))
    assert (tmp_path / "attention.png").stat().st_size > 5000


def test_synchronisation_shows_every_pair_and_the_edges_of_the_band(tmp_path: Path, drawn: list[Any]) -> None:
    shots, sentences, band = 50, 9, 0.2
    i, j = np.arange(shots)[:, None], np.arange(sentences)
    inside = (j < i * sentences / shots + band * sentences) & (i < j * shots / sentences + band * shots)
    plot_synchronisation(inside, tmp_path / "w.png", band=band)
    (axes,) = drawn[0].axes
    pairs = next(lines for lines in axes.collections if lines.get_label() == "w = 1")
    middles = np.array([segment.mean(axis=0) for segment in pairs.get_segments()])
    assert len(middles) == inside.sum()
    assert inside[middles[:, 0].astype(int), middles[:, 1].round().astype(int)].all()
    low, high = sorted((line.get_xydata() for line in axes.lines), key=lambda line: line[0, 1])
    lower, upper = (np.interp(middles[:, 0], *line.T) for line in (low, high))
    assert ((middles[:, 1] > lower) & (middles[:, 1] < upper)).all()
    outside = np.argwhere(~inside)
    lower, upper = (np.interp(outside[:, 0], *line.T) for line in (low, high))
    beyond = 1e-9
    assert ((outside[:, 1] <= lower + beyond) | (outside[:, 1] >= upper - beyond)).all()
    plot_synchronisation(np.zeros((50, 9), bool), tmp_path / "empty.png")  # no pair is a picture too
    assert "0 of 450 pairs" in drawn[1].axes[0].get_title()


@pytest.mark.parametrize("title", ["a_$x_$_b", r"$\frac{$", "[/b] \x1b[31m\u202e\ud800 😀 אב", "$$", "^{"])
def test_names_are_no_formulas_and_no_controls(tmp_path: Path, drawn: list[Any], title: str) -> None:
    config = small_config(modalities=(Modality("_x", 13), Modality("audio", 7)))
    engine = Engine.from_checkpoint(random_checkpoint(config))
    movie = random_features(config, 30)
    result = engine.segment(movie)
    plot_segmentation(result, tmp_path / "a.svg", title=title)
    plot_importance(engine.explain(movie), tmp_path / "b.svg", title=title)
    scores = {"_x": np.ones((4, 8), np.float32), title: np.ones((4, 8), np.float32)}
    plot_attention(scores, tmp_path / "c.svg", title=title)
    plot_synchronisation(np.eye(9), tmp_path / "D.PNG", band=0.3, title=title)
    shown = visible(title)
    assert drawn[0].axes[0].get_title() == drawn[1].get_suptitle() == drawn[2].get_suptitle() == shown
    assert drawn[3].axes[0].get_title() == drawn[2].axes[1].get_title() == shown
    assert [text.get_text() for text in drawn[1].legends[0].texts] == ["_x", "audio"]
    assert "\x1b" not in (tmp_path / "a.svg").read_text() + (tmp_path / "c.svg").read_text()


def test_turning_points_have_the_names_that_they_have(tmp_path: Path, drawn: list[Any]) -> None:
    result = explanation("act").segmentation
    (track,) = result.tracks.values()
    points = tuple(dataclasses.replace(point, name=f"_$x_$ {k}") for k, point in enumerate(track.points))
    axes = figures.Figure().add_subplot()
    draw_track(axes, dataclasses.replace(track, points=points))
    assert [text.get_text() for text in axes.get_legend().texts] == [point.name for point in points]
