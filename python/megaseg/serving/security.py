"""The bearer token of a service."""

from __future__ import annotations

import hmac
from pathlib import Path

from megaseg.errors import UnsupportedError


def accepts(token: str | None, header: str | None) -> bool:
    """Whether an ``Authorization`` header (or gRPC metadatum) carries the token; without a token everyone may in.

    The comparison takes the same time wherever the two differ.
    """
    if token is None:
        return True
    scheme, _, given = (header or "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    return same and scheme.lower() == "bearer"


def read_token(path: Path) -> str:
    """The token of a file: its text, white space around it left out.

    Raises:
        UnsupportedError: an empty token, or one that a header cannot carry.
    """
    token = path.read_text(encoding="utf-8").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UnsupportedError(f"{path}: expected a token, one line of printable ASCII without spaces")
    return token
