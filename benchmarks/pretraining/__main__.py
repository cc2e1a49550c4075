"""``python -m benchmarks.pretraining``: write the tables of docs/pretraining.md from the logs."""

from __future__ import annotations

from benchmarks.pretraining.tables import PAGE, page


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
