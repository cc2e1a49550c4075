"""The report in a real browser: what it shows and decides, what a person edits, by keyboard alone as well."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Visit, axe, chromium
from reports import PICTURE, random_film, random_importance

from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.decoding import scene_boundaries
from megaseg.errors import FeatureError
from megaseg.export import export, formats
from megaseg.export.ads.breaks import breaks
from megaseg.export.ads.rules import AdRules
from megaseg.export.frames import frame_at, timecode
from megaseg.export.timeline import Timeline

Open = Callable[..., Visit]
HOSTILE = '</script><img src=x onerror="globalThis.hit=1"><b>&amp;\u2028\u202e\U0001f600 ${1}`'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a report; at the end of the test, nothing may have gone wrong in any."""
    opened: list[Visit] = []

    def go(result: Segmentation, options: dict[str, Any] | None = None, **context: Any) -> Visit:
        page = Visit(browser, tmp_path / f"{len(opened)}.html", result, options or {}, **context)
        opened.append(page)
        return page

    yield go
    faults = [page.faults for page in opened]
    for page in opened:
        page.context.close()
    assert not any(faults), faults


def pictured(result: Segmentation) -> dict[str, Any]:
    return {"thumbnails": [PICTURE] * result.num_shots, "importance": random_importance(result)}


def test_a_film_a_text_and_features_are_shown(visit: Open) -> None:
    film = random_film()
    shown = visit(film, pictured(film))
    assert shown.page.locator("h1").inner_text() == "The Lamp"
    assert f"{len(film.scenes)} scenes" in shown.page.locator("#facts").inner_text()
    assert shown.page.locator(".card img").first.get_attribute("src").startswith("data:image/png;base64,")
    text = random_film(acts=False, timed=False)
    words = visit(text).page.locator(".card .frame-text").all_inner_texts()
    assert text.source is not None
    assert next(word for word in words if word) in text.source.captions
    numbers = visit(dataclasses.replace(random_film(acts=False), source=None)).page.locator(".card .frame-text")
    assert numbers.first.inner_text().startswith("0")


def test_pictures_of_any_shape_are_shown_whole(visit: Open) -> None:
    film = random_film(shots=20)
    shown = visit(film, pictured(film))  # square ones, in frames of 16 by 9
    outside = """[...document.querySelectorAll(".frame img:not([hidden])")].filter((image) => {
        const [own, frame] = [image, image.parentElement].map((element) => element.getBoundingClientRect());
        return own.top < frame.top || own.bottom > frame.bottom; })"""
    assert shown.page.locator(".frame img").count() > 10
    assert shown.page.evaluate(f"{outside}.length") == 0


@pytest.mark.slow
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_the_shortest_films_are_shown(visit: Open, tmp_path: Path, shots: int) -> None:
    film = random_film(shots=shots, acts=False, threshold=0)
    shown = visit(film, pictured(film))
    shown.page.locator(".reel").focus()
    for key in ("End", "Enter", "l", "Shift+ArrowLeft", "s", "n", "p", "Home", "Delete"):
        shown.page.keyboard.press(key)
    assert shown.saved(tmp_path / "saved.json").boundaries.tolist() == shown.boundaries
    zoomed = "m.views.curve.zoom(0); const [from, to] = m.views.curve.view; return to - from - Math.min(4, m.film.end);"
    assert shown.run(zoomed) == pytest.approx(0)  # labels are whole seconds, so some stay in view


def test_the_slider_decides_as_python(visit: Open) -> None:
    film = random_film(shots=300, seed=3, min_scene_length=2)
    shown = visit(film)
    for threshold in (0, 0.005, 0.1, 0.25, 0.33, 0.5, 0.615, 0.8, 0.95, 1):
        shown.page.locator("#threshold").fill(str(threshold))
        assert shown.boundaries == film.redecide(threshold=threshold).boundaries.tolist()
    shown.page.locator("#count").fill("12")
    shown.page.locator("#length").fill("4")
    shown.page.locator("#length").press("Enter")
    assert shown.boundaries == film.redecide(num_scenes=12, min_scene_length=4).boundaries.tolist()
    assert "12 scenes" in shown.page.locator("#facts").inner_text()


def random_decision(random: np.random.Generator) -> tuple[list[float], dict[str, Any]]:
    """Scores, with many equal ones, and a decision with edits that not every film allows."""
    shots = int(random.integers(1, 40))
    scores = random.random(shots) if random.random() < 0.5 else random.integers(0, 4, shots) / 4
    edits = random.permutation(shots)[: int(random.integers(0, 6))].tolist()
    split = int(random.integers(0, len(edits) + 1))
    return scores.astype(np.float32).tolist(), {
        "threshold": float(random.choice([0, 0.25, 0.5, float(random.random()), float(scores[0])])),
        "min_scene_length": int(random.choice([1, 1, 2, 3, 5])),
        "num_scenes": None if random.random() < 0.5 else int(random.integers(1, 9)),
        "locked": edits[:split],
        "barred": edits[split:],
    }


def test_any_decision_is_pythons(visit: Open) -> None:
    random = np.random.default_rng(5)
    cases = [random_decision(random) for _ in range(1000)]
    expected: list[list[int] | None] = []
    for scores, decision in cases:
        try:
            expected.append(scene_boundaries(np.array(scores, np.float32), **decision).tolist())
        except FeatureError:
            expected.append(None)
    found = visit(random_film()).run(
        """return given.map(([scores, decision]) => {
            try { return [...m.sceneBoundaries(Float64Array.from(scores), decision)]; }
            catch (error) { if (error instanceof RangeError) return null; throw error; } });""",
        cases,
    )
    assert found == expected
    assert 100 < expected.count(None) < 900


@pytest.mark.slow
def test_ad_breaks_are_those_of_the_files(visit: Open) -> None:
    random = np.random.default_rng(1)
    for seed in range(3):
        film = random_film(shots=400, seed=seed)
        rules = [
            AdRules(*(float(value) for value in random.uniform(0, 900, 3)), per_hour=float(random.integers(0, 13)))
            for _ in range(20)
        ]
        found = visit(film).run(
            "return given.map((rules) => m.adCuts(m.film, m.store.scenes, rules));", [asdict(rule) for rule in rules]
        )
        assert found == [[point.shot for point in breaks(Timeline.of(film, ads=rule))] for rule in rules]
        assert any(found)


@pytest.mark.slow
def test_names_and_chapters_are_those_of_the_files(visit: Open) -> None:
    punctuated = random_film(seed=2)
    assert punctuated.source is not None
    captions = tuple(f"{'word ' * 7}{'w' * (place % 20)}, {'more ' * 9}" for place in range(punctuated.num_shots))
    own = dataclasses.replace(punctuated, source=dataclasses.replace(punctuated.source, captions=captions))
    for result in (random_film(seed=2), own, random_film(timed=False), random_film(acts=False, words=False)):
        named = dataclasses.replace(result, names={"scenes": {0: HOSTILE}})
        shown = visit(named)
        names = shown.run("return m.store.scenes.map((scene, place) => m.sceneName(m.store, place));")
        assert names == [part.name for part in Timeline.of(named).scenes]
        if result.times is not None:
            assert shown.run("return m.chapters(m.store);") == export(named, "youtube").decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "start", "lead"),
    [
        ("30000/1001", "00:59:50;10", 0),
        ("60000/1001", "23:50:00;00", 500),
        ("24000/1001", "01:00:00:00", 0),
        ("25", None, 550),
    ],
)
def test_timecodes_are_those_of_the_files(visit: Open, rate: str, start: str | None, lead: int) -> None:
    film = random_film(shots=900)
    assert film.source is not None
    assert film.times is not None
    source = dataclasses.replace(film.source, frame_rate=Fraction(rate), timecode=start)
    counted = dataclasses.replace(film, source=source, times=film.times + lead)
    found = visit(counted).run("return given.map((cut) => m.whereabouts(m.film, cut));", list(range(899)))
    line = Timeline.of(counted)
    assert counted.times is not None
    assert counted.time_base is not None
    begins = [int(tick) * counted.time_base for tick in counted.times[1:, 0]]
    assert found == [timecode(line, frame_at(line, begin)) for begin in begins]


def test_edits_are_saved_as_a_result_that_exports(visit: Open, tmp_path: Path) -> None:
    film = random_film(seed=4)
    first, second, third = film.boundaries[[3, 5, 7]].tolist()
    free = next(shot for shot in range(film.num_shots - 1) if {shot, shot + 1}.isdisjoint(film.boundaries.tolist()))
    shown = visit(film, pictured(film))
    reel, press = shown.page.locator(".reel"), shown.page.keyboard.press
    reel.focus()
    for shot, keys in ((first, "l"), (second, "Delete"), (third, "Shift+ArrowRight"), (free, "s")):
        shown.run("m.store.moveCursor(given); m.flush();", shot)
        press(keys)
    press("F2")
    shown.page.keyboard.insert_text(HOSTILE)
    press("Enter")
    saved = shown.saved(tmp_path / "edited.json")
    decision = saved.tracks["scenes"].decision
    assert (decision.locked, decision.barred) == (
        tuple(sorted([first, third + 1, free])),
        tuple(sorted([second, third])),
    )
    assert saved.boundaries.tolist() == shown.boundaries
    assert saved.names == {"scenes": {free + 1: HOSTILE}}
    written = json.loads((tmp_path / "edited.json").read_text(encoding="utf-8"))
    assert written == json.loads(saved.to_json())
    again = film.redecide(locked=decision.locked, barred=decision.barred)
    assert saved.boundaries.tolist() == again.boundaries.tolist()
    for form in formats():
        assert export(saved, form.name)


def test_a_name_that_is_being_typed_is_saved_too(visit: Open, tmp_path: Path) -> None:
    shown = visit(random_film())
    shown.page.locator(".row .name").first.focus()
    shown.page.keyboard.insert_text("The storm")
    assert shown.saved(tmp_path / "saved.json").names == {"scenes": {0: "The storm"}}
    shown.page.keyboard.insert_text(" at sea")
    assert shown.saved(tmp_path / "again.json").names == {"scenes": {0: "The storm at sea"}}


def test_the_pointer_finds_the_buttons_of_any_row(visit: Open) -> None:
    shown = visit(random_film(), viewport={"width": 901, "height": 900})  # least width with all columns
    inside = "row => row.lastChild.getBoundingClientRect().right <= row.getBoundingClientRect().right"
    assert shown.page.locator(".row").first.evaluate(inside)
    row = shown.page.locator(".row").nth(2)
    assert row.locator(".row-join").evaluate("button => getComputedStyle(button).opacity") == "0"
    row.hover()
    shown.page.wait_for_function("getComputedStyle(document.querySelectorAll('.row-join')[2]).opacity === '1'")


def test_a_systems_own_colours_show_the_same(visit: Open) -> None:
    film = random_film(locked=(10,))
    shown = visit(film, pictured(film), forced_colors="active")
    shown.run("m.store.moveCursor(10); m.flush();")
    ground = shown.page.evaluate("getComputedStyle(document.querySelector('.panel')).backgroundColor")
    marks = (".strength", "[data-state=locked] .cut-flag", ".share-bar", ".card[aria-selected=true]", ".act-dot")
    for mark in marks:
        assert shown.page.evaluate(f"getComputedStyle(document.querySelector('{mark}')).backgroundColor") != ground, (
            mark
        )
    colour = shown.run("return m.views.curve.colour;")
    assert colour["ink"] != colour["panel"]
    assert len({colour["accent"], colour["line"], colour["panel"]}) == 3


@pytest.mark.slow
def test_what_a_film_does_not_allow_is_said_and_taken_back(visit: Open) -> None:
    shown = visit(random_film(shots=60, locked=(5, 9)))
    before = shown.boundaries
    for field, value, said in (
        ("#count", "2", "2 locked boundaries make at least 3 scenes, not 2."),
        ("#count", "2.5", "A film has 1 scene or more, a whole number, not 2.5."),
        ("#count", "61", "60 shots have room for 1 to 60 scenes, not 61."),
        ("#length", "0", "A scene has 1 shot or more, a whole number, not 0."),
    ):
        kept = shown.page.locator(field).input_value()
        shown.page.locator(field).fill(value)
        shown.page.keyboard.press("Tab")
        assert shown.boundaries == before
        assert shown.page.locator("#message").inner_text() == said
        assert shown.page.locator(field).input_value() == kept


@pytest.mark.slow
def test_undo_and_redo_go_through_every_edit(visit: Open) -> None:
    film = random_film(seed=6)
    shown = visit(film)
    seen = [shown.boundaries]
    shown.page.locator(".reel").focus()
    free = next(shot for shot in range(20, film.num_shots) if {shot, shot + 1, shot + 2}.isdisjoint(seen[0]))
    for cut, key in ((seen[0][2], "Delete"), (free, "s"), (free, "Shift+ArrowRight")):
        shown.run("m.store.moveCursor(given); m.flush();", cut)
        shown.page.keyboard.press(key)
        seen.append(shown.boundaries)
    drag = """const slider = document.getElementById("threshold");
        const tell = (kind) => slider.dispatchEvent(new Event(kind, { bubbles: true }));
        for (const value of [0.4, 0.3, 0.2]) { slider.value = value; tell("input"); }
        tell("change");"""
    shown.run(drag)
    seen.append(shown.boundaries)
    assert len({tuple(boundaries) for boundaries in seen}) == 5
    for before in (*seen[-2::-1], seen[0]):
        shown.page.keyboard.press("Control+z")
        assert shown.boundaries == before
    for after in (*seen[1:], seen[-1]):
        shown.page.keyboard.press("Control+Shift+z")
        assert shown.boundaries == after


STEPS = ("s", "Delete", "Enter", "l", "Shift+ArrowLeft", "Shift+ArrowRight", "Control+z", "Control+Shift+Z")


@pytest.mark.slow
@pytest.mark.parametrize("shots", [2, 60])
def test_any_row_of_edits_is_saved_as_python_decides_it(visit: Open, tmp_path: Path, shots: int) -> None:
    random = np.random.default_rng(shots)
    film = random_film(shots=shots, seed=shots, acts=False)
    shown = visit(film)
    for step in range(80):
        shown.page.locator(".reel").focus()
        near = shown.boundaries if random.random() < 0.5 else range(-1, shots - 1)
        shown.run("m.store.moveCursor(given); m.flush();", int(random.choice([0, *near])))
        match int(random.integers(0, 12)):
            case 0:
                shown.page.locator("#threshold").fill(str(int(random.integers(0, 200)) / 200))
            case 1:
                shown.page.locator("#count").fill(str(random.integers(1, shots + 1)))
            case 2:
                shown.page.locator("#length").fill(str(random.integers(1, 5)))
            case _:
                shown.page.keyboard.press(str(random.choice(STEPS)))
        if step % 8:
            continue
        saved = shown.saved(tmp_path / "saved.json")
        decision = saved.tracks["scenes"].decision
        assert saved.boundaries.tolist() == shown.boundaries == saved.redecide().boundaries.tolist()
        again = Segmentation.from_scores("scene", film.scores, decision, film.times, film.time_base)
        assert saved.scenes == again.scenes


@pytest.mark.slow
def test_the_keyboard_alone_reaches_everything(visit: Open) -> None:
    film = random_film(seed=7)
    shown = visit(film, pictured(film))
    shown.run("m.store.moveCursor(m.store.boundaries[1]); m.flush();")
    expected = shown.page.evaluate(
        """[...document.querySelectorAll("button, input, [tabindex='0']")].filter((element) => element.tabIndex >= 0
        && !element.disabled && element.checkVisibility()).length"""
    )
    seen: dict[str, bool] = {}
    for _ in range(3 * expected):
        shown.page.keyboard.press("Tab")
        name, ringed = shown.page.evaluate(
            """() => {
            const element = document.activeElement;
            const index = [...document.querySelectorAll("*")].indexOf(element);
            const ring = element.matches(".reel") ? element.querySelector("[aria-selected=true]") : element;
            const { outlineStyle, boxShadow } = getComputedStyle(ring);
            const name = `${index} ${element.tagName} ${element.id || element.className}`;
            return [name, outlineStyle !== "none" || boxShadow !== "none"]; }"""
        )
        if name in seen:
            break
        seen[name] = ringed
    assert len([name for name in seen if " BODY " not in name]) == expected
    assert all(ringed for name, ringed in seen.items() if " BODY " not in name), seen


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious(visit: Open, scheme: str, width: int) -> None:
    script = axe()
    film = random_film(seed=8, locked=(5,), barred=(9,))
    shown = visit(film, pictured(film), color_scheme=scheme, viewport={"width": width, "height": 900})
    shown.run("m.store.moveCursor(5); m.flush();")
    shown.page.evaluate(script)
    for step in ("", "document.querySelector('dialog').showModal();"):
        shown.run(step)
        found = shown.page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        serious = [
            (fault["id"], fault["help"], [node["html"][:120] for node in fault["nodes"][:3]])
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]
        assert not serious, serious


def test_texts_of_users_are_never_markup(visit: Open) -> None:
    film = random_film(seed=9)
    assert film.source is not None
    source = dataclasses.replace(film.source, name=HOSTILE, captions=(HOSTILE,) * film.num_shots)
    names = {"scenes": {0: HOSTILE}, "acts": {0: HOSTILE}}
    hostile = dataclasses.replace(film, source=source, names=names, remarks=(HOSTILE,))
    shares = dataclasses.replace(random_importance(film), modalities=(HOSTILE, "audio", "<i>"))
    shown = visit(hostile, {"title": HOSTILE, "importance": shares})
    shown.run("m.store.moveCursor(m.store.boundaries[0]); m.flush();")
    assert shown.run("return globalThis.hit ?? null;") is None
    assert shown.page.locator("img[src=x], b:has-text('&amp;')").count() == 0
    assert "</script><img src=x" in shown.page.locator("h1").inner_text()
    assert "</script><img src=x" in shown.page.locator(".card-name").first.inner_text()
    assert shown.page.locator(".share-name").first.inner_text().startswith("</script>")


@pytest.mark.slow
def test_pointer_drags_the_threshold_and_a_boundary(visit: Open) -> None:
    film = random_film(seed=10)
    shown = visit(film, pictured(film))
    place = """const box = m.views.curve.canvas.getBoundingClientRect();
        return [box.x + m.views.curve.x(m.film.at(given[0])), box.y + m.views.curve.y(given[1])];"""
    mouse = shown.page.mouse

    def drag(start: tuple[int, float], end: tuple[int, float]) -> None:
        mouse.move(*shown.run(place, start))
        mouse.down()
        mouse.move(*shown.run(place, end), steps=4)
        mouse.up()

    quiet = int(np.argmin(film.scores[:-1]))
    drag((quiet, 0.5), (quiet, 0.3))
    threshold = shown.run("return m.store.edit.decision.threshold;")
    assert abs(threshold - 0.3) < 0.02
    assert shown.boundaries == film.redecide(threshold=threshold).boundaries.tolist()
    cut = max(shown.boundaries, key=lambda shot: film.scores[shot])
    free = next(shot for shot in range(cut + 2, film.num_shots - 1) if shot not in shown.boundaries)
    mouse.move(*shown.run(place, (cut, 0.75)))
    share = random_importance(film).importance[cut, 0]
    assert shown.page.locator(".tip .share-number").first.inner_text() == f"{share:.0%}"
    assert shown.page.locator(".tip .shares p").inner_text() == "What speaks for “boundary”"
    drag((cut, 0.75), (free, 0.75))
    assert free in shown.boundaries
    assert cut not in shown.boundaries


@pytest.mark.slow
def test_acts_alone_can_be_looked_at_and_renamed(visit: Open, tmp_path: Path) -> None:
    film = random_film(seed=11)
    acts = dataclasses.replace(film, tracks={"acts": film.tracks["acts"]})
    shown = visit(acts)
    assert "6 acts" in shown.page.locator("#facts").inner_text()
    assert shown.page.locator("#controls legend").all_inner_texts() == ["Ad breaks"]
    assert shown.page.locator(".card-name").nth(1).inner_text() == Timeline.of(acts).acts[1].name
    found = shown.run("return [...m.store.ads];")
    assert found == [point.shot for point in breaks(Timeline.of(acts, ads=AdRules()))] != []
    shown.page.locator(".cards").focus()
    shown.page.keyboard.press("Delete")
    shown.page.keyboard.press("r")
    shown.page.keyboard.insert_text("The storm")
    shown.page.keyboard.press("Tab")
    saved = shown.saved(tmp_path / "acts.json")
    assert saved.names == {"acts": {0: "The storm"}}
    assert saved.boundaries.tolist() == acts.boundaries.tolist()


@pytest.mark.slow
def test_prints_every_scene_and_nothing_of_the_tools(visit: Open) -> None:
    film = random_film(shots=800, seed=12, threshold=0.2)
    shown = visit(film, color_scheme="dark")
    shown.page.emulate_media(media="print")
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.page.locator(".row").count() == len(film.scenes) > 100
    assert shown.page.locator("#tools").is_hidden()
    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not shown.page.locator(".row-shots").first.is_visible()
    text = visit(random_film(timed=False))
    text.page.emulate_media(media="print")
    assert text.page.locator(".row-shots").first.is_visible()  # where no times say where a scene is
