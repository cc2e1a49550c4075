"""``python -m megaseg`` is the command ``megaseg``."""

from megaseg.cli import main

main()
