"""Annotations of events in VidSitu's JSON layout: a verb and its roles for each event, and relations of events.

Layout, after the description that VidSitu publishes with its code: a file is a list of annotations of clips of ten
seconds. An annotation is an object of five events, ``Ev1`` to ``Ev5``, two seconds each. An event is an object with
``vid_seg_int`` (the clip, ``v_{video}_seg_{start}_{end}``), ``VerbID`` (``throw.01``) or ``Verb``, ``Args`` (role to
filler), ``Arg_List`` (role to its place in the order; without it, the order of ``Args``) and, but for ``Ev3``,
``EvRel``: the relation with ``Ev3``. Several annotations may be of one clip.

VidSitu's own annotations were not at hand: this reader is proved on files of this layout that tests write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.files import RepeatedKey, unique_keys
from megaseg.errors import FeatureError
from megaseg.evaluation.cider import words_of

EVENTS = 5  # of a clip
RELATIONS = ("A is enabled by B", "A is a reaction to B", "A causes B", "A is unrelated to B")
# Their names in ``EvRel``, letters only and in lower case.
_NAMES = {"enables": 0, "reactionto": 1, "causes": 2, "norel": 3}
_NO_NAME = {"", "null"}


@dataclass(frozen=True, slots=True)
class Event:
    """A verb and its roles in order; fillers are words in lower case, without punctuation, one space between."""

    verb: str
    roles: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """The class of a pair of events: ``first`` is the earlier, both count from 0; ``kind`` indexes ``RELATIONS``."""

    first: int
    second: int
    kind: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotator's events of a clip, in order of time; None for an event without a verb."""

    clip: str
    events: tuple[Event | None, ...]
    relations: tuple[Relation, ...]


def read_vidsitu(path: str | Path) -> list[Annotation]:
    """Annotations of a JSON file, in its order; an object of clips by name (each one or a list) is read too.

    Raises:
        FeatureError: names the file, the annotation and the event, what was expected and what came.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except RepeatedKey as error:
        raise FeatureError(f"{path}: expected each key once in an object, got {str(error)!r} twice") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FeatureError(f"{path}: expected VidSitu's JSON, got: {error}") from error
    found = []
    for where, clip, annotation in _annotations(value, str(path)):
        found.append(_annotation(annotation, clip, where))
    if not found:
        raise FeatureError(f"{path}: expected annotations of clips, found none")
    return found


def _annotations(value: Any, path: str) -> Iterator[tuple[str, str | None, Any]]:
    """Where each annotation stands, its clip where a key says so, and the annotation."""
    if isinstance(value, list):
        for number, annotation in enumerate(value):
            yield f"{path}: annotation {number}", None, annotation
    elif isinstance(value, dict):
        for clip, own in value.items():
            for number, annotation in enumerate(own if isinstance(own, list) else [own]):
                yield f"{path}: annotation {number} of {clip}", clip, annotation
    else:
        raise FeatureError(f"{path}: expected a list of annotations, got {type(value).__name__}")


def _annotation(value: Any, clip: str | None, where: str) -> Annotation:
    names = [f"Ev{number + 1}" for number in range(EVENTS)]
    if not isinstance(value, dict) or any(not isinstance(value.get(name), dict) for name in names):
        got = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise FeatureError(f"{where}: expected the objects {', '.join(names)}, got {got}")
    clips = {str(value[name]["vid_seg_int"]) for name in names if "vid_seg_int" in value[name]}
    clips |= set() if clip is None else {clip}
    if len(clips) != 1:
        raise FeatureError(f"{where}: expected one clip in vid_seg_int of its events, got {sorted(clips) or 'none'}")
    events = tuple(_event(value[name], f"{where}, {name}") for name in names)
    kinds = [_relation(value[name].get("EvRel"), f"{where}, {name}") for name in names]
    middle = EVENTS // 2
    if kinds[middle] is not None:
        raise FeatureError(f"{where}, {names[middle]}: expected no EvRel in the event that others relate to")
    relations = (
        Relation(min(number, middle), max(number, middle), kind)
        for number, kind in enumerate(kinds)
        if kind is not None
    )
    return Annotation(clips.pop(), events, tuple(relations))


def _event(value: Mapping[str, Any], where: str) -> Event | None:
    verb, fillers = value.get("VerbID", value.get("Verb")), value.get("Args")
    if verb is None and fillers is None:
        return None
    if not isinstance(verb, str) or not verb.strip():
        raise FeatureError(f"{where}: expected a verb in VerbID or Verb, got {verb!r}")
    if not isinstance(fillers, dict | None) or not all(isinstance(text, str) for text in (fillers or {}).values()):
        raise FeatureError(f"{where}: expected Args, an object of role and text, got {fillers!r:.60}")
    roles = []
    for key in _ordered(fillers or {}, value.get("Arg_List"), where):
        filler = " ".join(words_of((fillers or {})[key]))
        if filler:
            roles.append((role_name(key, where), filler))
    return Event(verb.strip(), tuple(roles))


def _ordered(fillers: Mapping[str, str], places: Any, where: str) -> Sequence[str]:
    """Keys of ``Args`` in the order of ``Arg_List``, whose places are numbers or their texts; others after them."""
    if places is None:
        return list(fillers)
    try:
        order = {key: int(place) for key, place in places.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise FeatureError(f"{where}: expected Arg_List, an object of role and place, got {places!r:.60}") from error
    return sorted(fillers, key=lambda key: order.get(key, len(order) + len(fillers)))


def role_name(key: str, where: str) -> str:
    """A role in one word: ``Arg0 (thrower)`` is Arg0, ``ArgM (direction)`` direction, the scene of the event scene.

    Raises:
        FeatureError: a key without a word.
    """
    numbered = re.match(r"\s*(Arg\d)\b", key)
    if numbered:
        return numbered[1]
    own = re.match(r"\s*ArgM\s*\((.*)\)", key)
    words = words_of(own[1] if own else key)
    if words[:1] == ["scene"]:
        return "scene"
    if not words:
        raise FeatureError(f"{where}: expected a role, got {key!r}")
    return "-".join(words)


def _relation(value: Any, where: str) -> int | None:
    name = "" if value is None else re.sub(r"[^a-z]", "", str(value).lower())
    if name in _NO_NAME:
        return None
    if name not in _NAMES:
        raise FeatureError(f"{where}: expected EvRel Enables, Reaction To, Causes or NoRel, got {value!r:.60}")
    return _NAMES[name]
