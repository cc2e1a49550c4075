"""Remarks on a script whose headings or speeches were not recognised."""

from __future__ import annotations

from megaseg.features.screenplay.script.remarks import looks_headed, remarks
from megaseg.features.screenplay.script_text import parse_script

UNKNOWN = "\n\n".join(f"{place} - MORNING\n\nAnna eats.\n\nANNA\nGo." for place in ("KITCHEN", "GARDEN", "STREET"))


def test_lines_in_capitals_that_stand_alone_may_be_headings() -> None:
    parsed = parse_script(UNKNOWN)
    assert looks_headed(parsed) == ["KITCHEN - MORNING", "GARDEN - MORNING", "STREET - MORNING"]
    (remark,) = remarks(parsed)
    assert "INT., EXT." in remark
    assert "3 short lines in capitals" in remark
    assert "'KITCHEN - MORNING'" in remark


def test_a_script_with_known_headings_has_no_remark() -> None:
    assert remarks(parse_script(f"INT. HALL - DAY\n\n{UNKNOWN}")) == []


def test_two_capital_lines_or_shouts_are_no_headings() -> None:
    assert remarks(parse_script("BANG\n\nShe runs.\n\nCRASH\n\nShe falls.")) == []
    assert remarks(parse_script("BANG!\n\nShe runs.\n\nCRASH!\n\nShe falls.\n\nOUCH!\n\nShe stands.")) == []
    few = "\n\n".join(["She runs far away."] * 200 + ["THE DOOR", "THE ROAD", "THE HILL"])
    assert looks_headed(parse_script(few)) == []


def test_a_long_script_without_speeches_is_odd() -> None:
    (remark,) = remarks(parse_script("INT. A\n\n" + "She runs.\n\n" * 50))
    assert remark == "expected speeches below names in capitals, found none in 50 blocks"
    assert remarks(parse_script("INT. A\n\n" + "She runs.\n\n" * 10)) == []
