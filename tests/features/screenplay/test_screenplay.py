"""Reading screenplays: the JSONL file, its faults, Fountain and plain text."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaseg.errors import FeatureError
from megaseg.features.screenplay.files import read_screenplays
from megaseg.features.screenplay.screenplay import Block
from megaseg.features.screenplay.script_text import parse_script

FOUNTAIN = """\
Title: The Lamp
Author: A. Nobody

INT. KITCHEN - DAY

ANNA lights the lamp. [[Which lamp?]] The window is open.

ANNA (O.S.)
(quietly)
Is anyone *home*?

BEN
Only me.

CUT TO:

EXT. GARDEN - NIGHT #2#

Rain on the empty
garden.

BEN (CONT'D)
Where did she go?

.THE CAVE

# Act two

= She finds him.

> THE END <

@McAvoy
Hello there.

/* The ending
is not settled. */
!BANG

He leaves.
"""

PLAIN = """\
                                        FADE IN:

    1    INT. HOUSE - DAY                                              1

         The house is quiet. A clock
         ticks on the wall.

                              JOHN
                        (whispering)
                   Who is there? I said who
                   is there?

                              (MORE)
                                                                  12.

                              JOHN (CONT'D)
                   Show yourself.

         (CONTINUED)

    A2   EXT. STREET - NIGHT                                          A2

         A car passes.
"""


def write_jsonl(path: Path, *rows: Any) -> Path:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def row(name: str = "Lamp", scenes: tuple[int | None, ...] = (0, 0, 1, 1)) -> dict[str, Any]:
    kinds = "adad"
    blocks = [[kinds[i % 4], "BEN" if i % 2 else "", f"text {i}", None, s] for i, s in enumerate(scenes)]
    return {"name": name, "split": "train", "headings": [], "blocks": blocks}


def test_fountain(tmp_path: Path) -> None:
    path = tmp_path / "lamp.fountain"
    path.write_text(FOUNTAIN)
    (play,) = read_screenplays(path)
    assert play.name == "lamp"
    assert [(b.kind, b.speaker, b.text) for b in play.blocks] == [
        ("action", "", "ANNA lights the lamp. The window is open."),
        ("dialogue", "ANNA", "(quietly) Is anyone home?"),
        ("dialogue", "BEN", "Only me."),
        ("action", "", "Rain on the empty garden."),
        ("dialogue", "BEN", "Where did she go?"),
        ("action", "", "THE END"),
        ("dialogue", "MCAVOY", "Hello there."),
        ("action", "", "BANG"),
        ("action", "", "He leaves."),
    ]
    assert play.labels is not None
    np.testing.assert_array_equal(play.labels, [0, 0, 1, 0, 1, 0, 0, 0, 1])


def test_plain_text_loses_its_furniture() -> None:
    assert parse_script(PLAIN) == [
        (1, "", "The house is quiet. A clock ticks on the wall."),
        (1, "JOHN", "(whispering) Who is there? I said who is there? Show yourself."),
        (2, "", "A car passes."),
    ]


GIVEAWAYS = """
INT. A - DAY|EXT A|int/ext. car|I/E. CAR|12 INT. A|A3. EXT. A 3|.CAVE|FADE OUT.|CUT TO:|SMASH CUT TO:
(CONTINUED)|CONTINUED: (2)|12.|(MORE)|45 OMITTED|> FADE TO BLACK|# Act|===
"""


@pytest.mark.parametrize("line", re.split(r"[|\n]", GIVEAWAYS.strip()))
def test_what_gives_a_boundary_away_is_no_text(line: str) -> None:
    words = [words for _, _, words in parse_script(f"He waits.\n\n{line}\n\nShe comes.")]
    assert words == ["He waits.", "She comes."]


@pytest.mark.parametrize("line", ["INTO the house he runs.", "...and then", "EXTRA people come.", "A page turns."])
def test_text_that_looks_like_a_heading_stays(line: str) -> None:
    assert (0, "", line) in parse_script(f"He waits.\n\n{line}\n\nShe comes.")


def test_a_script_without_headings_has_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "flat.txt"
    path.write_text("He waits.\n\nBEN\nHello.\n\nShe comes.\n")
    (play,) = read_screenplays(path)
    assert len(play.blocks) == 3
    assert play.labels is None


@given(st.text())
def test_any_text_parses(text: str) -> None:
    for scene, speaker, words in parse_script(text):
        assert scene >= 0
        assert words == " ".join(words.split()) != ""
        assert speaker == speaker.strip()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_pack(tmp_path: Path, suffix: str) -> None:
    play, other = read_screenplays(write_jsonl(tmp_path / f"pack{suffix}", row(), "", row("B", (3, 3, 3, 3))))
    assert play.blocks[1] == Block("dialogue", "BEN", "text 1")
    assert play.labels is not None
    np.testing.assert_array_equal(play.labels, [0, 1, 0, 1])
    assert other.labels is None  # a single scene is no segmentation


def test_scenes_that_cannot_be_trusted_give_no_labels(tmp_path: Path) -> None:
    silent = row("Silent")
    silent["blocks"] = [["a", "", "x", None, i // 10] for i in range(100)]
    merged = row("Merged", tuple(i // 60 for i in range(120)))
    unnumbered = row("Unnumbered", (0, None, 1, 1))
    plays = read_screenplays(write_jsonl(tmp_path / "pack.jsonl", silent, merged, unnumbered))
    assert [play.labels for play in plays] == [None, None, None]


def test_movies_json_beside_the_pack_rules_movies_out(tmp_path: Path) -> None:
    movies = [{"name": "Lamp", "usable_for_boundary": False}, {"name": "B", "usable_for_boundary": True}]
    (tmp_path / "movies.json").write_text(json.dumps(movies))
    first, second = read_screenplays(write_jsonl(tmp_path / "pack.jsonl", row(), row("B")))
    assert first.labels is None
    assert second.labels is not None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "pack.jsonl:2: expected a JSON object"),
        ("[]", "pack.jsonl:2: expected an object with name"),
        ({"name": "X", "blocks": 3}, "pack.jsonl:2: expected an object with name"),
        ({"name": "X", "blocks": [["a", "", "text", 10**30]]}, "pack.jsonl:2: X: expected scene numbers from 0 to"),
        ('{"name": "X", "blocks": [["a", "", "\\ud800", 0]]}', "pack.jsonl:2: expected text, got half of a surrogate"),
        ({"name": "X", "blocks": [["a", "", "text"]]}, "pack.jsonl:2: block 0: expected"),
        ({"name": "X", "blocks": [["q", "", "text", 0, 0]]}, "pack.jsonl:2: block 0: expected"),
        ({"name": "X", "blocks": [["a", "", "text", 0, "one"]]}, "pack.jsonl:2: block 0: expected"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: Any, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        list(read_screenplays(write_jsonl(tmp_path / "pack.jsonl", row(), bad)))


@pytest.mark.parametrize("headings", [None, 5, [], [3], [[]], [["A"]]])
def test_headings_that_give_no_numbers(tmp_path: Path, headings: Any) -> None:
    row = {"name": "X", "blocks": [["a", "", "Rain \ud83d\ude00.", 0, 0]], "headings": headings}
    (play,) = read_screenplays(write_jsonl(tmp_path / "pack.jsonl", row))
    assert play.num_scenes == 1


def test_a_malformed_line_is_an_error_after_the_rest(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "pack.jsonl", "{", row(), "[]", {"name": "X"}, row("B"))
    plays = read_screenplays(path)
    assert [next(plays).name, next(plays).name] == ["Lamp", "B"]
    with pytest.raises(FeatureError, match=r"pack.jsonl:1: expected .*; 2 more lines are no screenplays either"):
        next(plays)


def test_bad_files(tmp_path: Path) -> None:
    cases = {
        "none.jsonl": None,
        "none.txt": None,
        "empty.jsonl": b"",
        "empty.txt": b"  \n\n",
        "headings.txt": b"INT. A - DAY\n\nEXT. B\n",
        "cut.jsonl.gz": gzip.compress(json.dumps(row()).encode())[:-12],
        "plain.jsonl.gz": b"not gzip",
        "binary.txt": b"\x89PNG\0\0",
        "latin.jsonl": b'{"name": "\xff"}',
    }
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(FeatureError, match=name):
            list(read_screenplays(tmp_path / name))
