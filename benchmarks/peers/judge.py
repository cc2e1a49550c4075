"""Ratios to the best peer, and whether a number was met: computed from the rows of a case, never typed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.peers.client import OURS
from benchmarks.rows import Row

ERROR_RATIO = 1.2  # of the best peer's error at the same type that ours may have
LOGITS = 100  # the largest error of fewer is chance


def unsupported(case: str, subject: str, unit: str, problem: str) -> Row:
    return Row(case, subject, unit, 0.0, 0.0, 0.0, 0, {"unsupported": problem})


def judged(
    rows: list[Row],
    must: float | None = None,
    aim: float | None = None,
    *,
    allowed: float | None = None,
    against: str = "",
    own: str = OURS,
) -> list[Row]:
    """Every peer's row with ``ours_is`` (times better), ours with ``ratio`` to the best and what it had to reach.

    More is better in units a second, less in any other unit. ``against`` names the peer where it is not the best one,
    ``own`` our row where it is not the first.
    """
    ours = next((row for row in rows if row.subject == own and row.repeats), None)
    if ours is None:
        return rows
    times = {
        row.subject: row.p50 and (ours.p50 / row.p50 if row.unit.endswith("/s") else row.p50 / ours.p50)
        for row in rows
        if row.repeats
    }
    named = [row for row in rows if row.subject == against] if against else _others(rows)
    peers = [row for row in named if row.repeats and "not_counted" not in row.facts]
    facts: dict[str, Any] = dict(ours.facts)
    if peers:
        best = min(peers, key=lambda row: times[row.subject])
        facts |= {"best_peer": best.subject, "ratio": round(times[best.subject], 2)}
        if must is not None and aim is not None:
            facts |= {"must": must, "aim": aim, "speed": _verdict(times[best.subject], must, aim)}
        if ours.facts.get("logits", 0) >= LOGITS:
            limit = allowed or ERROR_RATIO * best.facts["error"]
            facts |= {"error_limit": limit, "accuracy": "met" if ours.facts["error"] <= limit else "missed"}
    return [
        replace(row, facts=facts)
        if row is ours
        else replace(row, facts={**row.facts, **({"ours_is": round(times[row.subject], 2)} if row.repeats else {})})
        for row in rows
    ]


def _others(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row.subject.startswith(OURS)]


def _verdict(ratio: float, must: float, aim: float) -> str:
    return "aim met" if ratio >= aim else "met" if ratio >= must else "missed"
