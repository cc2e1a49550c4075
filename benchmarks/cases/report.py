"""The report of a two-hour film of 1,500 shots: time to write, size, and what a reader waits for in Chromium."""

from __future__ import annotations

import shutil
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import Row, row_of
from megaseg.engine.results.explanation import Explanation
from megaseg.engine.results.segmentation import Segmentation, joined
from megaseg.engine.tasks.act import ActDecision
from megaseg.engine.tasks.scene import SceneDecision
from megaseg.media.thumbnails import ThumbnailEncoder, thumbnail_size
from megaseg.report.html import write_report

SHOTS, REPEATS, PICTURES = 1500, 9, 60
CASE = f"report of a film of {SHOTS:,} shots"
# One step of the slider: from the input to a page that is decided, filled and laid out again, without the painting.
STEPS = """async () => {
    const slider = document.getElementById("threshold");
    const steps = [];
    for (let step = 0; step < 200; step++) {
        await new Promise(requestAnimationFrame);
        const begin = performance.now();
        slider.value = (step * 7) % 200 / 200;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        megaseg.render();
        document.body.getBoundingClientRect();
        steps.push(performance.now() - begin);
    }
    return steps; }"""
# Frames while the slider moves in each: what is shown, painting and the rest of the list included.
FRAMES = """async () => {
    const slider = document.getElementById("threshold");
    const frames = [];
    let before = await new Promise(requestAnimationFrame);
    for (let step = 0; step < 120; step++) {
        slider.value = (40 + step) / 200;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - before);
        before = now;
    }
    return frames; }"""


def run() -> list[Row]:
    result, importance, thumbnails = film()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.html"
        seconds = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            write_report(path, result, title="A film", thumbnails=thumbnails, importance=importance)
            seconds.append(time.perf_counter() - begin)
        facts = {"picture_bytes": round(float(np.mean([len(picture) for picture in thumbnails])))}
        return [
            row_of(CASE, "time to write", "s", seconds, must=2),
            row_of(CASE, "size", "MB", [path.stat().st_size / 1e6], must=6, **facts),
            *browsed(path),
        ]


def film() -> tuple[Segmentation, Explanation, list[bytes]]:
    """Scenes and acts of a film that never was, and pictures of noise, which take as many bytes as pictures may."""
    random = np.random.default_rng(0)
    scores = np.where(random.random(SHOTS) < 0.08, random.uniform(0.3, 1, SHOTS), random.beta(0.5, 4, SHOTS))
    ends = np.cumsum(random.integers(24, 204, SHOTS)).astype(np.int64)
    times, base = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1), Fraction(1001, 24000)
    points = random.random((SHOTS, 5)).astype(np.float32)
    result = joined(
        [
            Segmentation.from_scores("scene", scores.astype(np.float32), SceneDecision(), times, base),
            Segmentation.from_scores("act", points, ActDecision(ordered=True), times, base),
        ]
    )
    shares = random.dirichlet([1, 1, 1, 1], SHOTS).astype(np.float32)
    modalities = ("visual", "colour", "audio", "dialogue")
    importance = Explanation(result, modalities, np.arange(SHOTS), ("boundary",) * SHOTS, shares)
    encoder = ThumbnailEncoder(thumbnail_size(16 / 9))
    noise = [random.integers(0, 256, (16, 16, 3), np.uint8).repeat(14, 0).repeat(14, 1) for _ in range(PICTURES)]
    pictures = [encoder.encode(picture) for picture in noise]
    return result, importance, [pictures[shot % PICTURES] for shot in range(SHOTS)]


def browsed(path: Path) -> list[Row]:
    """First paint, all pictures there, and steps of the slider, in fresh tabs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        timings = [opened(browser, path) for _ in range(REPEATS)]
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_selector("ol[data-ready]")
        steps, frames = page.evaluate(STEPS), page.evaluate(FRAMES)
        facts = {"chromium": browser.version}
        browser.close()
    paints, whole = (list(values) for values in zip(*timings, strict=True))
    return [
        row_of(CASE, "first contentful paint", "ms", paints, must=500, **facts),
        row_of(CASE, "all pictures there", "ms", whole),
        row_of(CASE, "step of the slider, laid out", "ms", steps, must=16, p99=float(np.percentile(steps, 99))),
        row_of(CASE, "frame while the slider moves", "ms", frames, p99=float(np.percentile(frames, 99))),
    ]


def opened(browser: Any, path: Path) -> tuple[float, float]:
    """Milliseconds from the navigation to the first contentful paint, and to a page with all of its pictures."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("ol[data-ready]")
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    timing = page.evaluate(
        """[performance.getEntriesByName("first-contentful-paint")[0].startTime,
        performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd]"""
    )
    context.close()
    return float(timing[0]), float(timing[1])
