"""Files of labels: LVU's three headers and plain CSV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from megaseg.errors import FeatureError
from megaseg.training.recipes.head.labels import read_classes, read_numbers, read_shot_labels

CLASSES = "class_id class_name youtube_id imdb_id\n0 office ab-_1 tt01\n1 \\N cd2 tt02\n"
LIKES = "like_count dislike_count youtube_id imdb_id\n90 10 ab-_1 tt01\n5 0 cd2 tt02\n"
VIEWS = "view_count youtube_id imdb_id\n1000 ab-_1 tt01\n1 cd2 tt01\n"
LVU = Path(__file__).parents[4] / "shared" / "data" / "lvu"


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        file = tmp_path / "labels.csv"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_lvus_lists(written: Any) -> None:
    assert read_classes(written(CLASSES)) == {"ab-_1": "office", "cd2": "\\N"}
    assert read_numbers(written(LIKES)) == {"ab-_1": 9.0, "cd2": 10.0}
    assert read_numbers(written(VIEWS)) == {"ab-_1": pytest.approx(math.log(1000)), "cd2": 0.0}


def test_plain_csv(written: Any) -> None:
    text = '\ufeffname,label\n"film, the first",a b\nother, c \n\n'
    assert read_classes(written(text)) == {"film, the first": "a b", "other": "c"}
    assert read_numbers(written("name,label\nfilm,-1.5e2\n")) == {"film": -150.0}
    shots = "name,shot,attribute,label\nfilm,0,size,wide\nfilm,0,motion,pan\nfilm,12,size,close\n"
    assert read_shot_labels(written(shots)) == {"film": {"size": {0: "wide", 12: "close"}, "motion": {0: "pan"}}}


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (read_classes, "", "expected a file of labels, got an empty one"),
        (read_classes, "name,label\n", "expected labels, got a header alone"),
        (read_classes, "film,class\nx,y\n", "expected header name,label, got 'film,class'"),
        (read_classes, "name,label\nfilm\n", "line 2: expected name,label, got 'film'"),
        (read_classes, "name,label\nfilm,\n", "line 2: expected name,label, got 'film,'"),
        (read_classes, "name,label\nfilm,a\nfilm,b\n", "line 3: expected each film once, got film again"),
        (read_classes, LIKES, "expected classes, header class_id class_name .*, got 'like_count"),
        (read_classes, CLASSES + "1 office ab-_1 tt01\n", "line 4: expected each clip once, got ab-_1 again"),
        (read_classes, CLASSES + "1 a b ef3 tt03\n", "line 4: expected 4 fields as in .*, got '1 a b ef3 tt03'"),
        (read_numbers, CLASSES, "expected header like_count .* or view_count .*, got 'class_id"),
        (read_numbers, LIKES + "0 0 ef3 tt03\n", "line 4: expected positive counts, got .'0', '0'."),
        (read_numbers, VIEWS + "many ef3 tt03\n", "line 4: expected positive counts, got .'many'."),
        (read_numbers, VIEWS + "0 ef3 tt03\n", "line 4: expected positive counts, got .'0'."),
        (read_numbers, "name,label\nfilm,nan\n", "film: expected a finite number, got 'nan'"),
        (read_numbers, "name,label\nfilm,inf\n", "film: expected a finite number, got 'inf'"),
        (read_numbers, "name,label\nfilm,seven\n", "film: expected a finite number, got 'seven'"),
        (read_shot_labels, "name,shot,attribute,label\nf,-1,size,a\n", "line 2: expected the number of a shot from 0"),
        (read_shot_labels, "name,shot,attribute,label\nf,1.0,size,a\n", "expected the number of a shot .* got '1.0'"),
        (read_shot_labels, "name,shot,attribute,label\nf,1,size,a\nf,1,size,b\n", "line 3: expected one size a shot"),
        (read_shot_labels, "name,label\nf,a\n", "expected header name,shot,attribute,label, got 'name,label'"),
    ],
)
def test_errors_name_file_and_line(written: Any, read: Any, text: str, expected: str) -> None:
    with pytest.raises(FeatureError, match=rf"labels\.csv: {expected}|labels\.csv: .*{expected}"):
        read(written(text))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FeatureError, match=r"labels\.csv: expected a UTF-8 file of labels"):
        read_classes(tmp_path / "labels.csv")
    with pytest.raises(FeatureError, match=r"none\.csv: expected a UTF-8 file of labels"):
        read_classes(tmp_path / "none.csv")


@pytest.mark.skipif(not LVU.is_dir(), reason="LVU's lists are not there")
def test_all_lists_of_lvu_are_read() -> None:
    for file in sorted(LVU.glob("*/*.csv")):
        read = read_numbers if file.parent.name in ("like_ratio", "view_count") else read_classes
        assert len(read(file)) == len(file.read_text().splitlines()) - 1, file
