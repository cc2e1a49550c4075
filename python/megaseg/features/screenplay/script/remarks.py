"""What a user should know about a parsed script before its scenes are trusted."""

from __future__ import annotations

from collections.abc import Sequence

_FEWEST = 3  # blocks in capitals that stand alone, from which on they may be headings
_SHARE = 0.02  # ... and of all blocks
_LONGEST = 60  # characters of such a block
_ENOUGH = 40  # blocks, from which on a script without speeches is odd


def looks_headed(parsed: Sequence[tuple[int, str, str]]) -> list[str]:
    """Action blocks that look like headings of a kind that is not known; none if the script has known headings."""
    if any(scene > 0 for scene, _, _ in parsed):
        return []
    likely = [words for _, speaker, words in parsed if not speaker and _is_short_capital(words)]
    return likely if len(likely) >= max(_FEWEST, _SHARE * len(parsed)) else []


def remarks(parsed: Sequence[tuple[int, str, str]]) -> list[str]:
    """Sentences about a script whose headings or speeches were not recognised, though it seems to have some."""
    found = []
    if likely := looks_headed(parsed):
        found.append(
            f"expected scene headings that begin with INT., EXT. or a forcing dot, found none; "
            f"{len(likely)} short lines in capitals look like headings, such as {likely[0]!r}"
        )
    if len(parsed) >= _ENOUGH and not any(speaker for _, speaker, _ in parsed):
        found.append(f"expected speeches below names in capitals, found none in {len(parsed)} blocks")
    return found


def _is_short_capital(words: str) -> bool:
    return 4 <= len(words) <= _LONGEST and words.upper() == words and words.lower() != words and words[-1] not in "!?"
