"""One case a file; each has ``run() -> list[Row]``."""
