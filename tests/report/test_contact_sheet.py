"""Contact sheets: every scene has its picture, number and time below its act, read back from the figure."""

from __future__ import annotations

import dataclasses
import io
import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaseg.engine.results.segmentation import Segmentation, joined
from megaseg.engine.results.source import Source
from megaseg.engine.tasks.act import ActDecision
from megaseg.engine.tasks.scene import SceneDecision
from megaseg.errors import FeatureError
from megaseg.export import Timeline
from megaseg.report import contact_sheet
from megaseg.report.contact_sheet import picture_shots, plot_contact_sheet

figures = pytest.importorskip("matplotlib.figure", reason="needs the extra plot")
SHOTS = 60


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The only axes of every figure that is saved."""
    seen: list[Any] = []
    save = figures.Figure.savefig

    def keep(self: Any, *arguments: Any, **options: Any) -> None:
        seen.extend(self.axes)
        save(self, *arguments, **options)

    monkeypatch.setattr(figures.Figure, "savefig", keep)
    return seen


def movie(scenes: int = 30, *, timed: bool = True, acts: bool = False, **more: Any) -> Segmentation:
    """Scenes of two shots each, of ten seconds a shot, and acts that end after every fifth scene."""
    times = np.arange(SHOTS + 1, dtype=np.int64)[:, None] * 10 + [0, 10]
    clock = (times[:SHOTS], Fraction(1)) if timed else ()
    scores = np.where(np.arange(SHOTS) % 2, 0.9, 0.1).astype(np.float32)
    result = Segmentation.from_scores("scene", scores, SceneDecision(num_scenes=scenes), *clock)
    if acts:
        logits = np.full((SHOTS, 5), -9, np.float32)
        logits[np.arange(1, 6) * 10 - 1, np.arange(5)] = 9
        result = joined([result, Segmentation.from_logits("act", logits, ActDecision(), *clock)])
    return dataclasses.replace(result, **more)


def picture(level: int, size: tuple[int, int] = (160, 90)) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(data, "WEBP")
    return data.getvalue()


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_text()]


def test_scenes_stand_in_order_below_their_acts(tmp_path: Path, drawn: list[Any]) -> None:
    timeline = Timeline.of(movie(acts=True), title="A film")
    assert picture_shots(timeline)[:3] == [0, 2, 4]
    plot_contact_sheet(timeline, [picture(8 * number) for number in range(30)], tmp_path / "sheet.png")
    (axes,) = drawn
    said = texts(axes)
    assert said[:5] == ["Act 1   0:00:00.0 – 0:01:40.0", "1", "0:00:00.0", "2", "0:00:20.0"]
    assert said[-1] == "A film   30 scenes, 0:10:00.0"
    assert said[11].startswith("Act 2 · after opportunity   0:01:40.0")
    assert [word for word in said if word.isdigit()] == [str(number) for number in range(1, 31)]
    levels = [int(image.get_array().mean()) for image in axes.images]
    np.testing.assert_allclose(levels, 8 * np.arange(30), atol=2)
    for one, other in itertools.pairwise(image.get_extent() for image in axes.images):
        assert one[0] < other[0] or one[2] < other[2], "to the right of the one before, or below"
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("size", "shape"), [((160, 90), 16 / 9), ((90, 160), 9 / 16)])
def test_pictures_keep_their_shape_and_their_cell(
    size: tuple[int, int], shape: float, tmp_path: Path, drawn: list[Any]
) -> None:
    plot_contact_sheet(Timeline.of(movie()), [picture(9, size)] * 30, tmp_path / "sheet.svg")
    left, right, low, high = drawn[0].images[0].get_extent()
    assert (right - left) / abs(high - low) == pytest.approx(shape)
    assert right - left <= 160


def test_without_pictures_first_words_and_shots_are_shown(tmp_path: Path, drawn: list[Any]) -> None:
    words = tuple(f"Words number {shot} of a much longer line that goes on" for shot in range(SHOTS))
    result = movie(timed=False, source=Source("play", captions=words), names={"scenes": {2: "Own <name> $x$"}})
    plot_contact_sheet(Timeline.of(result), [b""] * 30, tmp_path / "sheet.png")
    said = texts(drawn[0])
    assert said[:3] == ["Words number 0 of a much\nlonger line that goes on", "1", "shots 0–1"]
    assert "Own <name> $x$" in said
    assert said[-1] == "play   30 scenes, 60 shots"
    shot = Timeline.of(movie(timed=False).redecide(locked=[0]))
    plot_contact_sheet(shot, [b""] * 30, tmp_path / "sheet.svg")
    assert "shot 0" in texts(drawn[-1])
    assert not drawn[0].images


def test_a_person_s_name_or_the_first_words_stand_below_a_picture(tmp_path: Path, drawn: list[Any]) -> None:
    source = Source("film.mp4", captions=("Come in.", *[""] * (SHOTS - 1)))
    result = movie(source=source, names={"scenes": {2: "The harbour at night\n, late"}})
    plot_contact_sheet(Timeline.of(result), [picture(9)] * 30, tmp_path / "sheet.png")
    assert texts(drawn[0])[:6] == ["1", "0:00:00.0", "Come in.", "2", "0:00:20.0", "The harbour at night…"]


def test_one_scene_is_a_sheet(tmp_path: Path, drawn: list[Any]) -> None:
    plot_contact_sheet(Timeline.of(movie(1)), [picture(9)], tmp_path / "one.png")
    assert texts(drawn[0])[-1] == "Untitled   1 scene, 0:10:00.0"


def test_a_great_many_scenes_are_no_more_rows_than_a_picture_has(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    monkeypatch.setattr(
        contact_sheet, "save_figure", lambda figure, path, dpi: rows.append(figure.get_size_inches()[1] * dpi)
    )
    for scenes in (30, 4000):
        result = Segmentation.from_scores("scene", np.ones(scenes, np.float32), SceneDecision())
        plot_contact_sheet(Timeline.of(result), [b""] * scenes, "many.png")
    assert rows[0] < 1200
    assert 50_000 < rows[1] < 65_536


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"sheet\.txt: expected a picture"):
        plot_contact_sheet(Timeline.of(movie()), [b""] * 30, tmp_path / "sheet.txt")
