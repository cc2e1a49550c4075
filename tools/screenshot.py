"""``python tools/screenshot.py REPORT.html PICTURE.png``: a picture of a report in Chromium, for the documents."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CURSOR = "megaseg.store.moveCursor(megaseg.store.boundaries[megaseg.store.boundaries.length >> 1])"


def main(report: Path, picture: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1040}, color_scheme="light")
        page.goto(report.absolute().as_uri())
        page.wait_for_selector("ol[data-ready]")
        page.evaluate(CURSOR)
        page.wait_for_timeout(500)  # for the row of pictures under the curve
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
