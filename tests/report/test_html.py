"""The report as a file: whole, without a network, and safe whatever its texts are. The browser's tests are apart."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reports import PICTURE, random_film, random_importance

from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.export.ads.rules import AdRules
from megaseg.report import html
from megaseg.report.html import report, write_report

PAGE = Path(html.__file__).parent / "page"
HOSTILE = "</script><!--<script>]]>&\u2028\"'$facts ${title}"


class Elements(HTMLParser):
    """Names of the elements, and the texts of scripts and styles by their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, str] = {}
        self._in = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        self._in = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._in] = self.texts.get(self._in, "") + data


def test_the_page_is_one_file_that_asks_for_nothing() -> None:
    film = random_film()
    page = report(film, title="The Lamp", thumbnails=[PICTURE] * film.num_shots)
    elements = Elements(page)
    assert not {"link", "iframe", "img", "object", "base"} & set(elements.names)
    assert not {"src", "href", "srcset"} & {name for name, _ in elements.attributes}
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import|\bfetch\(|XMLHttpRequest", page)


def test_only_the_pages_own_script_and_style_may_run() -> None:
    elements = Elements(report(random_film(), title="The Lamp"))
    policy = next(value for name, value in elements.attributes if value and value.startswith("default-src"))
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(elements.texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_result_is_in_the_page_as_it_is() -> None:
    film = dataclasses.replace(random_film(), names={"scenes": {0: HOSTILE}})
    rules = AdRules(spacing=90, per_hour=2)
    importance = random_importance(film)
    elements = Elements(report(film, title=HOSTILE, importance=importance, ads=rules))
    data = json.loads(elements.texts["film"])
    assert Segmentation.from_dict(data["result"]).to_json() == film.to_json()
    assert data["ads"] == dataclasses.asdict(rules)
    assert data["importance"]["modalities"] == list(importance.modalities)
    assert len(data["importance"]["shares"]) == film.num_shots
    assert elements.names.count("script") == 3
    assert elements.texts["h1"].startswith("</script><!--<script>]]>&")


def test_pictures_stand_behind_the_script_one_a_shot() -> None:
    film = random_film()
    page = report(film, title="x", thumbnails=[b"", *[PICTURE] * (film.num_shots - 1)])
    lines = Elements(page).texts["pictures"].strip().splitlines()
    assert lines == ["image/png", "-", *[base64.b64encode(PICTURE).decode()] * (film.num_shots - 1)]
    assert page.index('</script>\n<script type="text/plain"') > page.index('"use strict"')


@pytest.mark.parametrize(
    ("thumbnails", "message"),
    [
        ([PICTURE], "thumbnails: expected one for each of 90 shots, got 1"),
        ([PICTURE, *[b"\xff\xd8\xff"] * 89], "thumbnails: expected pictures of one kind, got image/jpeg and image/png"),
        ([b"GIF89a"] * 90, "thumbnails: expected JPEG, WebP or PNG"),
    ],
)
def test_wrong_pictures_are_refused(thumbnails: list[bytes], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        report(random_film(), title="x", thumbnails=thumbnails)


def test_importance_of_another_film_is_refused() -> None:
    with pytest.raises(FeatureError, match="importance: expected that of 90 shots, got 30"):
        report(random_film(), title="x", importance=random_importance(random_film(shots=30)))


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "film.html"
    write_report(path, random_film(), title="The Lamp")
    before = path.read_bytes()
    with pytest.raises(FeatureError):
        write_report(path, random_film(), title="x", thumbnails=[PICTURE])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["film.html"]


def test_a_film_of_1500_shots_is_small() -> None:
    film = random_film(shots=1500)
    picture = PICTURE + bytes(2400 - len(PICTURE))
    page = report(film, title="x", thumbnails=[picture] * 1500, importance=random_importance(film))
    assert len(page.encode()) < 6e6


def test_modules_of_the_page_export_what_others_import_and_nothing_else() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in PAGE.glob("*.js")}
    exported = {
        (name, what)
        for name, text in sources.items()
        for what in re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", text, re.MULTILINE)
    }
    imported = {
        (name, what)
        for text in sources.values()
        for names, name in re.findall(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";$', text, re.MULTILINE)
        for what in re.findall(r"\w+", names)
    }
    assert len(imported) > 30
    assert imported == exported
    assert not [name for name, text in sources.items() if len(text.splitlines()) > 400]
