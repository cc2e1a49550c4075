"""The recipe ``screenplay-blocks/1``: which arrays a screenplay becomes, one row per block.

=========== ===== ===================================================================================
modality    width row i
=========== ===== ===================================================================================
description   384 sentence vector of an action block, zeros for a speech
dialogue      384 sentence vector of a speech, zeros for an action block
structure      80 form and word cues of block i; turnover of the cast and cohesion at the gap after it;
                  the reader's log-odds that a scene ends there, over 3 (see reader.py)
=========== ===== ===================================================================================

Lengths count as ranks within the movie and cosines are standardised within it, so that rows of movies whose scripts
are laid out differently stay comparable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.features.screenplay import cast, rhythm
from megaseg.features.screenplay.cues import cues
from megaseg.features.screenplay.screenplay import ACTION, Screenplay

RECIPE = "screenplay-blocks/1"


def structure(
    screenplay: Screenplay, vectors: NDArray[np.float32], log_odds: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(blocks, 80) from the blocks, their sentence vectors (blocks, 384) and the reader's log-odds (blocks,)."""
    blocks = screenplay.blocks
    present = cast.presence(blocks)
    columns = [
        rhythm.form(blocks),
        cast.turnover(present),
        cast.ages(present),
        cast.conversation(blocks),
        rhythm.cohesion(blocks, vectors),
        cues(blocks),
        np.asarray(log_odds[:, None] / 3, np.float32),
    ]
    return np.concatenate(columns, axis=1)


def block_features(screenplay: Screenplay, vectors: NDArray[np.float32], log_odds: NDArray[np.float32]) -> Features:
    """Features of one screenplay from its blocks, their sentence vectors (blocks, 384) and log-odds (blocks,)."""
    action = np.array([[block.kind == ACTION] for block in screenplay.blocks])
    modalities = {
        "description": np.where(action, vectors, 0).astype(np.float32),
        "dialogue": np.where(action, 0, vectors).astype(np.float32),
        "structure": structure(screenplay, vectors, log_odds),
    }
    return Features(modalities, labels=screenplay.labels, recipe=RECIPE)
