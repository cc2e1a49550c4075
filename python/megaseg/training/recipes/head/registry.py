"""All heads by kind: one row each."""

from __future__ import annotations

from megaseg.errors import UnsupportedError
from megaseg.training.recipes.head.attributes import Attributes
from megaseg.training.recipes.head.boundary import Boundary
from megaseg.training.recipes.head.classify import Classify
from megaseg.training.recipes.head.next_shot import NextShot
from megaseg.training.recipes.head.ordering import Ordering
from megaseg.training.recipes.head.protocol import Head
from megaseg.training.recipes.head.regress import Regress
from megaseg.training.recipes.head.relation import EventRelation
from megaseg.training.recipes.head.retrieval import Retrieval
from megaseg.training.recipes.head.roles import Roles
from megaseg.training.recipes.head.tags import Tagging

HEADS: dict[str, type[Head]] = {
    head.kind: head
    for head in (
        Boundary,
        Classify,
        Regress,
        Tagging,
        Attributes,
        Ordering,
        NextShot,
        Retrieval,
        EventRelation,
        Roles,
    )
}


def head_of(kind: str) -> type[Head]:
    """The head of a kind.

    Raises:
        UnsupportedError: no such kind; lists the kinds.
    """
    if kind not in HEADS:
        raise UnsupportedError(f"head: expected one of {', '.join(HEADS)}, got {kind!r}")
    return HEADS[kind]
