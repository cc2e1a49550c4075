"""The page of a search: one file that asks for nothing, colours that tell similarities, texts that are no markup."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from report.test_html import HOSTILE, Elements
from reports import PICTURE

from megaseg.report import matches
from megaseg.search.explaining import Found, Side
from megaseg.search.index import Hit
from megaseg.search.match import Match
from megaseg.search.query import Query

QUERY = Query("film", np.ones(3, np.float32), 4, 30, 41, (10.0, 15.5))
HIT = Hit("other", 7, 100, 110, None, None, None, 0.25, "/films/other.mp4")
VALUES = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
MATCH = Match(31, 105, VALUES, ("visual", "audio"))
SIDES = {"query": Side((PICTURE,), (PICTURE,) * 3), "result": Side((PICTURE, b""), (b"",) * 4)}


def test_the_page_is_one_file_that_asks_for_nothing() -> None:
    page = matches.matches(QUERY, [Found(HIT, MATCH, **SIDES), Found(HIT)])
    elements = Elements(page)
    assert not {"link", "iframe", "script", "object", "base"} & set(elements.names)
    assert not [value for name, value in elements.attributes if name == "style"], "the policy forbids it"
    sources = [value for name, value in elements.attributes if name in ("src", "href")]
    assert sources
    assert all(str(value).startswith("data:image/") for value in sources)
    assert not re.findall(r"https?://|url\(|@import", page)
    assert f"'sha256-{matches.hash_of(elements.texts['style'])}'" in page


def test_a_rectangle_for_each_pair_of_shots() -> None:
    page = matches.matches(QUERY, [Found(HIT, MATCH, **SIDES)])
    scale = 24
    assert page.count("<rect") == 12 + scale
    assert "shot 33 and shot 108: 1.000" in page
    assert page.count("<image") == 3, "of the scene asked for; the result's are not there"
    assert "0:00:10.0 – 0:00:15.5 · shots 30 to 41" in page
    assert "scene 7 · shots 100 to 110 · distance 0.2500" in page


@pytest.mark.parametrize("value", [-2.0, -1.0, 0.0, 0.3, 1.0, 2.0])
def test_colours_are_those_of_viridis(value: float) -> None:
    colours = pytest.importorskip("matplotlib", reason="needs the extra plot").colormaps["viridis"]
    expected = np.array(colours((np.clip(value, -1, 1) + 1) / 2)[:3]) * 255
    own = matches.colour(value, -1, 1)
    assert re.fullmatch("#[0-9a-f]{6}", own)
    assert np.abs(np.array([int(own[at : at + 2], 16) for at in (1, 3, 5)]) - expected).max() < 25, (
        "between its five points it is a line"
    )


def test_equal_similarities_have_a_colour() -> None:
    flat = dataclasses.replace(MATCH, similarities=np.full((3, 4), 0.5, np.float32))
    assert "nan" not in matches.matches(QUERY, [Found(HIT, flat)])


def test_texts_of_users_are_no_markup() -> None:
    found = Found(dataclasses.replace(HIT, title=HOSTILE), dataclasses.replace(MATCH, modalities=(HOSTILE,)))
    page = matches.matches(dataclasses.replace(QUERY, name=HOSTILE), [found])
    plain = matches.matches(QUERY, [Found(HIT, MATCH)])
    assert Elements(page).names == Elements(plain).names
    assert page.count("$facts ${title}") == 4


def test_nothing_found() -> None:
    page = matches.matches(dataclasses.replace(QUERY, scene=None, seconds=None), [])
    assert "No scene was found." in page
    assert "Scenes like shots 30 to 41 of film" in page


def test_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    found = [Found(dataclasses.replace(HIT, title="$x_$ <b>"), MATCH)] * 7
    matches.write_matches(tmp_path / "page.html", QUERY, found)
    matches.plot_matches(QUERY, found, tmp_path / "picture.png")
    assert (tmp_path / "page.html").read_text() == matches.matches(QUERY, found)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
