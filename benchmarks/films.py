"""Feature files of the films of ``data/video-scenes``, one for each film and feature space: what training reads.

``python -m benchmarks.films SOURCE OUTPUT``: FILM.npz has the film's first network as ``visual`` and its histograms as
``colour``, FILM@NETWORK.npz each further network.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from megaseg.engine.inputs.feature_files import save_features
from megaseg.engine.inputs.features import Features

NETWORKS = ("vgg19", "mobilenet_v1", "mobilenet_v2", "densenet201", "inception_v3", "xception", "nasnet_large")
_RATE = 25  # frames a second: right for BBC and RAI, and near OVSD's 24 to 30


def features_of(path: Path) -> dict[str, Features]:
    """Raw features of a film by network, in the order of ``NETWORKS``; by ``""`` where there is none."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    colour = {"colour": arrays["colour_hsv"]} if "colour_hsv" in arrays else {}
    first, last = arrays["shots"].astype(np.int64).T
    times = np.stack([first, np.maximum(first, last) + 1], axis=1)
    labels, base = arrays["labels"].astype(np.uint8), Fraction(1, _RATE)
    visual = {name: {"visual": arrays[name]} for name in NETWORKS if name in arrays} or {"": {}}
    return {name: Features({**own, **colour}, times, base, labels) for name, own in visual.items()}


def convert(source: Path, output: Path) -> int:
    """Write the feature files of every film of ``source``; the number of films."""
    films = json.loads((source / "films.json").read_text(encoding="utf-8"))
    output.mkdir(parents=True, exist_ok=True)
    for film in films:
        name = Path(film["file"]).stem
        for number, (space, features) in enumerate(features_of(source / film["file"]).items()):
            save_features(output / (f"{name}@{space}.npz" if number else f"{name}.npz"), features)
    return len(films)


if __name__ == "__main__":
    print(f"{convert(Path(sys.argv[1]), Path(sys.argv[2]))} films")
