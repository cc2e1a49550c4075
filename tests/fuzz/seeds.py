"""Small valid files of each fuzz target, from which mutation starts."""

from __future__ import annotations

import io
import tempfile
import zlib
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from films import Look, Tone, beeps, shots, write_film
from fuzz.targets import TINY
from safetensors.numpy import save
from script_files import content, fdx, pdf, pdf_of
from support import random_checkpoint, random_features

from megaseg import Engine
from megaseg.engine.model.config import FORMAT
from megaseg.engine.results.schema import Decision
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.results.source import Source

FOUNTAIN = """\
Title: The Lamp
Author: A. Nobody

**1. INT. KITCHEN - DAY** #1#

ANNA lights the *lamp*. [[Which
lamp?]] /* A window. */

ANNA (V.O.) ^
(low)
42.
\x20\x20
Go \\*now\\*.

> CUT TO:

.ÉGLISE - NUIT

# Act two

> THE END <
"""
PLAIN = """\
                    THE LAMP

                    written by A. Nobody

FADE IN:

1    INT. HALL - DAY                                  1

     Anna waits.                                      *

                         ANNA
                  Who is
                         (MORE)
                                            Blue Rev. (01/02/03)   2.
\f
1    CONTINUED: (2)                                   1

                         ANNA (CONT'D)
                  there?

2    OMITTED                                          2
"""
TEXT = (
    "Title: A\n\nINT. CAFÉ - DAY\n\nÉva waits.\n\nÉVA (O.S.)\n(low)\nYes [[no]].\n\nCUT TO:\n\n.SEA\n\n/* x */Rain.\n"
)
TYPED = (
    ("Scene Heading", "INT. CAFÉ"),
    ("Action", "Éva waits."),
    ("Character", "ÉVA"),
    ("Dialogue", "Yes."),
    ("", "Rain."),
)
PAGE = [
    (72.0, 700.0, "1"),
    (108.0, 700.0, "INT. CAFE"),
    (108.0, 676.0, "Rain."),
    (252.0, 652.0, "EVA"),
    (180.0, 640.0, "Yes."),
]
SCRIPTS = {
    "script": [
        FOUNTAIN.encode(),
        PLAIN.encode(),
        *(TEXT.encode(code) for code in ("utf-8", "cp1252", "utf-16", "mac_roman")),
    ],
    "fdx": [fdx(*TYPED).encode(), fdx(*TYPED, head="").encode("utf-16")],
    "pdf": [
        pdf(PAGE, PAGE),
        pdf_of([zlib.compress(content(PAGE))]).replace(b"<< /Len", b"<< /Filter /FlateDecode /Len"),
    ],
}


@cache
def films() -> list[bytes]:
    """A second of film in each of four formats, up to 16 KB."""
    look, sound = Look(options={"g": "8", "bf": "2"}), [Tone(beeps(1, rate=8_000), rate=8_000)]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"film.{ending}") for ending in ("mkv", "mp4", "ts", "avi")]
        return [write_film(file, shots(24, 8, (24, 32)), look, sound=sound).read_bytes() for file in files]


def seeds(target: str) -> list[bytes]:
    """Valid inputs of a target."""
    if target in SCRIPTS:
        return SCRIPTS[target]
    if target == "video":
        return films()
    config = TINY
    arrays = {**random_features(config, 2), "labels": np.array([0, 1], np.uint8)}
    if target == "checkpoint":
        metadata = {"format": FORMAT, "config": config.to_json()}
        return [save(dict(random_checkpoint(config).tensors), metadata)]
    if target == "safetensors":
        return [save(arrays, {"recipe": "a/1"})]
    if target == "snapshot":
        stream = Engine.from_checkpoint(random_checkpoint(config), num_threads=1).stream()
        stream.push({**random_features(config, 6), "times": np.zeros((6, 2), np.int64), "time_base": "1/24"})
        return [stream.snapshot()]
    if target == "npz":
        stream = io.BytesIO()
        np.savez(stream, **arrays, times=np.zeros((2, 2), np.int64), time_base=np.array([1, 24]))
        return [stream.getvalue()]
    scores = (("scene", np.full(3, 0.5, np.float32)), ("act", np.full((3, 2), 0.5, np.float32)))
    results = [Segmentation.from_scores(task, values, Decision()) for task, values in scores]
    told = Source(
        "a.mp4", Fraction(25), "01:00:00:00", (4, 2), ("a", "", ""), np.array([[0, 3]]), np.zeros(3, np.float32)
    )
    results.append(replace(results[0].redecide(locked=[0], barred=[1]), source=told, names={"scenes": {1: "b"}}))
    return [result.to_json().encode() for result in results]
