"""``python -m benchmarks.movies2scenes``: write the tables of docs/movies2scenes.md from the logs."""

from __future__ import annotations

from benchmarks.movies2scenes.tables import PAGE, page


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
