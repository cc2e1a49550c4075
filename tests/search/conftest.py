"""Tests of graphs need usearch, those of exact search do not."""

from __future__ import annotations

import pytest

from megaseg.search import segment, writer


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs from 100 scenes on."""
    pytest.importorskip("usearch", reason="needs the extra search")
    for module in (segment, writer):
        monkeypatch.setattr(module, "EXACT", 100)
