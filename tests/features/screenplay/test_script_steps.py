"""Reading a script takes steps in proportion to its length, whatever is in it.

Steps are lines of Python that run, and, for regular expressions, bounds on every repetition: no clock is read.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from types import FrameType
from typing import Any

import pytest

from megaseg.features.screenplay import script, script_text
from megaseg.features.screenplay.script.emphasis import without_emphasis
from megaseg.features.screenplay.script_text import parse_script

parser = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
MODULES = [script_text] + [
    importlib.import_module(f"{script.__name__}.{module.name}") for module in pkgutil.iter_modules(script.__path__)
]
HEADED = "INT. A - DAY\n\n"
# One unit of each, repeated: what was, or could be, quadratic.
UNITS = {
    "emphasis never closed": (HEADED, "*a "),
    "underlines never closed": (HEADED, "_a "),
    "emphasis of many kinds": (HEADED, "*a **b ***c _d "),
    "transition": ("FADE ", "TO "),
    "notes never closed": (HEADED, "[["),
    "notes that cross": (HEADED, "[[a\n\n"),
    "notes closed at the end": (HEADED, "[[ /* "),
    "boneyards never closed": (HEADED, "/*"),
    "boneyards open before one that ends": (HEADED, "/* a\n\n"),
    "counts": (HEADED + "ANNA\n", "1\n2\n"),
    "parentheses alone": (HEADED, "("),
    "hashes alone": (HEADED, "#"),
    "colons alone": (HEADED, ":"),
    "colons apart": (HEADED, ": "),
    "stars and spaces": (HEADED, "* "),
    "kinds of place": (HEADED, "INT "),
    "brackets": (HEADED, "<b>"),
    "escape codes": (HEADED, "\x1b["),
    "NEL": (HEADED, "\x85"),
    "keys": ("", "Key: value\n"),
    "keys apart": ("", "Title: value\n\n"),
    "headings": ("", "INT. A\n"),
    "headings apart": ("", "INT. A\n\n"),
    "cues": (HEADED, "ANNA\n"),
    "cues apart": (HEADED, "ANNA\n\n"),
    "speeches": (HEADED, "ANNA\nGo.\n\n"),
    "parentheticals": (HEADED + "ANNA\n\n", "(a)\n\n"),
    "columns": (HEADED, "          ANNA\n     Go.\n\n     And go.\n\nRain.\n"),
    "speech that goes on": (
        HEADED + "          ANNA\n     Go.\n          BEN\n     No.\n\nRain.\n\n          ANNA\n",
        "     Go.\n\n",
    ),
    "transcript": (HEADED, "ANNA: Go.\n"),
    "transcript of many": (HEADED, "ANNA: Go.\nBEN: No.\n\n"),
    "pages": (HEADED, "on and\n\f"),
    "page numbers": (HEADED, "Rain.\n12.\n"),
    "running heads": (HEADED, "Rain.\n\nTHE LAMP   1.\n\n"),
    "blank lines": (HEADED, "\n"),
    "two spaces": (HEADED + "ANNA\nGo.\n", "  \nGo.\n"),
    "spaces": (HEADED, " "),
    "tabs": (HEADED, "\t"),
    "spaces before a number": (HEADED + "INT. B", "   1"),
    "capitals": (HEADED, "A"),
    "dots": (HEADED, "."),
    "digits": (HEADED, "1"),
    "numbers and spaces": (HEADED, "1 "),
    "parentheses": (HEADED, "("),
    "colons": (HEADED, "A:"),
    "carriage returns": (HEADED, "\r"),
    "asterisks": (HEADED, "*"),
    "asterisks apart": (HEADED, "a *\n"),
    "hashes": (HEADED, "#1"),
}


def steps(text: str) -> int:
    """Lines of the package's Python that run while a script is parsed."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "screenplay" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_script(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("unit", UNITS)
def test_twice_the_script_takes_at_most_twice_the_steps(unit: str) -> None:
    start, repeated = UNITS[unit]
    small, large = (steps(start + repeated * n) for n in (200, 400))
    assert large <= 2.1 * small + 500


PATTERNS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
}


def longest_match(tree: Any) -> int:
    """Most characters that a pattern can consume: an attempt to match it cannot take more steps than that, nor can any
    of its repetitions be tried more often."""
    total = 0
    for op, value in tree:
        if str(op).endswith("_REPEAT"):
            _, most, inner = value
            total += 10**9 if most is parser.MAXREPEAT else most * longest_match(inner)
        elif op is parser.SUBPATTERN:
            total += longest_match(value[-1])
        elif op is parser.BRANCH:
            total += max(map(longest_match, value[1]))
        elif op is parser.GROUPREF:
            total += 10
        elif op in (parser.ASSERT, parser.ASSERT_NOT):
            total += longest_match(value[1])
        else:
            total += 1
    return total


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_pattern_repeats_nothing_without_bound(pattern: re.Pattern[str]) -> None:
    assert longest_match(parser.parse(pattern.pattern, pattern.flags)) < 1000


def test_the_bound_is_seen_to_fail() -> None:
    assert longest_match(parser.parse(r"a\s*b")) > 1000
    assert longest_match(parser.parse(r"(?:a{0,100}b){0,100}")) > 1000


class Counted(str):
    """A text that counts the characters that are asked for one by one."""

    asked = 0

    def __getitem__(self, key: Any) -> str:
        Counted.asked += 1
        return str.__getitem__(self, key)


def test_emphasis_looks_at_each_mark_once() -> None:
    def asked(n: int) -> int:
        Counted.asked = 0
        without_emphasis(Counted("*a " * n))
        return Counted.asked

    assert 0 < asked(2000) <= 2 * asked(1000) + 10
