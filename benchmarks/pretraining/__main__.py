"""``python -m benchmarks.pretraining``: write the tables of docs/pretraining.md from the logs."""

from __future__ import annotations

from benchmarks.pretraining.tables import PAGE, filled


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
