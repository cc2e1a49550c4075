"""A real browser for tests: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from megaseg.engine.results.segmentation import Segmentation
from megaseg.report.html import write_report


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window. No other event loop of its thread can run until it is closed."""
    driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def axe() -> str:
    """The script of axe-core, from the package that has it for Playwright."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is not installed: pip install axe-playwright-python")
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


class Visit:
    """A report in a tab of its own, and all that goes wrong in it."""

    def __init__(self, browser: Any, path: Path, result: Segmentation, options: dict[str, Any], **context: Any) -> None:
        write_report(path, result, **{"title": "The Lamp", **options})
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("ol[data-ready]")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"request of {request.url}")

    def run(self, script: str, argument: Any = None) -> Any:
        """The value of a script in which ``m`` is the page's own interface, once all views have followed."""
        return self.page.evaluate(f"(given) => {{ const m = globalThis.megaseg; {script} }}", argument)

    @property
    def boundaries(self) -> list[int]:
        """The shots after which a scene ends, as the page has it."""
        return list(self.run("m.flush(); return m.store.boundaries"))

    def saved(self, path: Path) -> Segmentation:
        """What the page's save gives."""
        with self.page.expect_download() as download:
            self.page.keyboard.press("Control+s")
        download.value.save_as(path)
        return Segmentation.from_json(path.read_text(encoding="utf-8"))
