"""What a trial reports when a promise is broken."""

from __future__ import annotations


class Finding(Exception):
    """A broken promise: what was run, what was expected and what came."""


def expect(held: bool, message: object) -> None:
    """Report a promise that does not hold."""
    if not held:
        raise Finding(str(message))
