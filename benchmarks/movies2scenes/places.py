"""Scenes of screenplays and the place that each one's heading names; the headings are read for nothing else."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megaseg import load_features
from megaseg.engine.inputs.features import Features
from megaseg.features.build import file_name
from megaseg.features.screenplay.pack import read_pack
from megaseg.features.screenplay.screenplay import ACTION, Screenplay

PLACES = {
    "airport": "airport",
    "apartment": "apartment",
    "bar": "bar|pub|saloon|tavern|nightclub",
    "bathroom": "bathroom|restroom|rest room|washroom|shower",
    "beach": "beach",
    "bedroom": "bedroom",
    "boat": "boat|ship|deck|yacht|ferry",
    "car": "car|limousine|limo|taxi|cab",
    "church": "church|chapel|cathedral",
    "hallway": "hallway|corridor",
    "hospital": "hospital|emergency room",
    "hotel": "hotel|motel",
    "house": "house",
    "kitchen": "kitchen",
    "living room": "living room",
    "office": "office",
    "park": "park",
    "prison": "prison|jail|cell",
    "restaurant": "restaurant|diner|cafe|cafeteria|coffee shop",
    "road": "road|highway|freeway",
    "school": "school|classroom|class",
    "store": "store|shop|mall|supermarket",
    "street": "street|avenue|boulevard|alley",
    "woods": "woods|forest",
}
LEAST, FOLDS = 40, 5  # scenes of a place; every fifth film in the order of the file is of one fold
_WORDS = {place: re.compile(rf"\b(?:{words})s?\b") for place, words in PLACES.items()}
_LONGEST_HEADING = 12  # words of a line in capitals, which may be a heading within a scene
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Places:
    """``films``: the description of each (rows, 384), a row a paragraph of action, labels 1 where a scene ends.

    Of all scenes whose heading names one place alone: ``film``, the film's number; ``rows`` (S, 2), its first and last
    row; ``place``, the place's number; and ``spoken`` (S, 384), the mean vector of its speeches. ``pack`` is the file
    that the films are of.
    """

    pack: Path

    films: Mapping[str, Features]
    film: NDArray[np.int64]
    rows: NDArray[np.int64]
    place: NDArray[np.int64]
    spoken: Array

    @property
    def fold(self) -> NDArray[np.int64]:
        """The fold of every scene, which is its film's."""
        return self.film % FOLDS

    def training(self, fold: int) -> dict[str, Features]:
        """The films that a fold does not hold out."""
        return {name: own for number, (name, own) in enumerate(self.films.items()) if number % FOLDS != fold}

    def of_film(self) -> Iterator[tuple[NDArray[np.int64], Features]]:
        """Of every film which scenes are its own, and its features."""
        for number, own in enumerate(self.films.values()):
            yield np.flatnonzero(self.film == number), own


def read_places(pack: Path, features: Path) -> Places:
    """Scenes of TRIPOD's ``screenplays.jsonl.gz`` with the folder that ``megaseg features screenplay`` made of it."""
    headings = _headings(pack)
    films: dict[str, Features] = {}
    found: list[tuple[int, tuple[int, int], str, Array]] = []
    for play in read_pack(pack):
        path = features / file_name(play.name)
        if play.scenes is None or not path.is_file():
            continue
        described, scenes, spoken = _rows(play, load_features(path))
        if len(set(scenes.tolist())) < 2:
            continue
        ends = np.append(scenes[1:] != scenes[:-1], True).astype(np.uint8)
        for scene, place in _named(headings[play.name]):
            own = np.flatnonzero(scenes == scene)
            if len(own):
                found.append((len(films), (int(own[0]), int(own[-1])), place, spoken[scene]))
        films[play.name] = Features({"description": described}, labels=ends)
    counts = Counter(place for _, _, place, _ in found)
    kept = [one for one in found if counts[one[2]] >= LEAST]
    names = list(PLACES)
    numbers = [np.array([one[0] for one in kept]), np.array([names.index(one[2]) for one in kept])]
    rows, spoken = np.array([one[1] for one in kept]), np.stack([one[3] for one in kept])
    return Places(pack, films, numbers[0], rows, numbers[1], spoken)


def _rows(play: Screenplay, features: Features) -> tuple[Array, NDArray[np.int64], Array]:
    """Vectors of action (rows, 384), the scene of each, and the mean vector of speeches of every scene (scenes, 384).

    Lines in capitals are left out: some are headings within a scene.
    """
    assert play.scenes is not None
    action = np.array([block.kind == ACTION for block in play.blocks])
    kept = action & ~np.array([_may_be_heading(block.text) for block in play.blocks])
    spoken = np.zeros((play.num_scenes, features.modalities["dialogue"].shape[1]), np.float32)
    for scene in set(play.scenes[~action].tolist()):
        spoken[scene] = features.modalities["dialogue"][~action & (play.scenes == scene)].mean(0)
    return features.modalities["description"][kept].astype(np.float32), play.scenes[kept], spoken


def _may_be_heading(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    capitals = sum(letter.isupper() for letter in letters)
    return capitals > 0.9 * len(letters) and len(text.split()) <= _LONGEST_HEADING


def _headings(pack: Path) -> dict[str, dict[int, str]]:
    """The first heading of each scene, by film."""
    found: dict[str, dict[int, str]] = {}
    with gzip.open(pack, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            own = found.setdefault(row["name"], {})
            for scene, text, *_ in row["headings"]:
                if scene is not None:
                    own.setdefault(scene, text.lower())
    return found


def _named(headings: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """Scenes whose heading names one place alone, and that place."""
    for scene, text in headings.items():
        places = [place for place, words in _WORDS.items() if words.search(text.replace("parking lot", ""))]
        if len(places) == 1:
            yield scene, places[0]


def precisions(vectors: Array, scenes: Places, fold: int) -> NDArray[np.float64]:
    """Of every scene of a fold's films (n, 3): the share of its place in the 1, 5 and 10 nearest of all other films.

    Nearest by L2 distance of unit vectors.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    out = []
    for query in np.flatnonzero(scenes.fold == fold).tolist():
        nearness = unit @ unit[query]
        nearness[scenes.film == scenes.film[query]] = -np.inf
        right = scenes.place[np.argsort(-nearness, kind="stable")[:10]] == scenes.place[query]
        out.append([right[:count].mean() for count in (1, 5, 10)])
    return np.array(out)


def chance(scenes: Places) -> float:
    """The share of a scene's place among the scenes of all other films, the mean over scenes."""
    shares = [
        (scenes.place[scenes.film != film] == place).mean()
        for film, place in zip(scenes.film.tolist(), scenes.place.tolist(), strict=True)
    ]
    return float(np.mean(shares))
