"""Clips of five events with known answers, as features and as annotations in VidSitu's layout.

A clip has ten shots, two an event. Every symbol has a vector; shots are sums of symbols' vectors and noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.models.contextualizer import Contextualizer, to_checkpoint

RECIPE = "generated/1"
WIDTH = 16
SYMBOLS = 6
EVENT_NAMES = ("Ev1", "Ev2", "Ev3", "Ev4", "Ev5")
AGENTS = ("man", "old woman", "boy in a red hat", "dog", "two guards", "nurse")
PATIENTS = ("ball", "wooden door", "letter", "horse", "bag of coins", "lamp")
PLACES = ("gym", "dark street", "kitchen", "train", "roof of a house", "beach")
# Roles of each verb in their order; the decoder must take their fillers from the shots.
VERBS = {
    "throw.01": ("Arg0 (thrower)", "Arg1 (thing thrown)", "Scene of the Event"),
    "sleep.01": ("Scene of the Event", "Arg0 (sleeper)"),
    "break.02": ("Arg1 (thing broken)", "Arg0 (breaker)"),
}
_FILLERS = {"Arg0": AGENTS, "Arg1": PATIENTS, "Scen": PLACES}
_NOISE = 0.1

Annotations = list[dict[str, Any]]


def relation_of(first: int, second: int) -> str:
    """The relation of two events by their symbols: by the parity of their sum, and by which is larger.

    Whoever sees the two without their order knows the parity alone, and is right about half of the pairs at most.
    """
    names = {(0, True): "Enables", (0, False): "Reaction To", (1, True): "Causes", (1, False): "NoRel"}
    return names[(first + second) % 2, first < second]


def relation_clips(count: int, seed: int, *, part: str = "clip") -> tuple[dict[str, Features], Annotations]:
    """Clips whose five events have different symbols, and their relations with the third event."""
    rng = np.random.default_rng([seed, 1])
    vectors = symbols(1)
    movies: dict[str, Features] = {}
    annotations: Annotations = []
    for number in range(count):
        own = rng.permutation(SYMBOLS)[:5]
        name = f"{part}_{number:04d}_seg_0_10"
        movies[name] = _film(rng, np.repeat(vectors[0][own], 2, axis=0))
        events: dict[str, Any] = {event: {"vid_seg_int": name} for event in EVENT_NAMES}
        for event, symbol in zip(EVENT_NAMES, own[:2], strict=False):
            events[event]["EvRel"] = relation_of(symbol, own[2])
        for event, symbol in zip(EVENT_NAMES[3:], own[3:], strict=True):
            events[event]["EvRel"] = relation_of(own[2], symbol)
        annotations.append(events)
    return movies, annotations


def role_clips(count: int, seed: int, *, held_out: bool, part: str = "clip") -> tuple[dict[str, Features], Annotations]:
    """Clips of events with an agent, a patient and a place; held-out ones have combinations that others never have."""
    rng = np.random.default_rng([seed, 2])
    agents, patients, places = symbols(3)
    movies: dict[str, Features] = {}
    annotations: Annotations = []
    for number in range(count):
        name = f"{part}_{number:04d}_seg_0_10"
        combinations = [_combination(rng, held_out) for _ in EVENT_NAMES]
        rows = [row for a, p, s in combinations for row in (agents[a], patients[p] + places[s])]
        movies[name] = _film(rng, np.stack(rows))
        verbs = [list(VERBS)[k] for k in rng.integers(len(VERBS), size=5)]
        annotations.append(
            {
                event: {"vid_seg_int": name, "VerbID": verb, **_roles(verb, combination)}
                for event, verb, combination in zip(EVENT_NAMES, verbs, combinations, strict=True)
            }
        )
    return movies, annotations


def symbols(kinds: int) -> NDArray[np.float32]:
    """A vector for each symbol of each kind, (kinds, SYMBOLS, WIDTH); the same ones always."""
    return np.random.default_rng(kinds).standard_normal((kinds, SYMBOLS, WIDTH)).astype(np.float32)


def shuffled(annotations: Annotations, seed: int) -> Annotations:
    """The same annotations with the clips' names dealt out anew."""
    names = [events["Ev1"]["vid_seg_int"] for events in annotations]
    others = np.random.default_rng(seed).permutation(names).tolist()
    return [
        {event: {**own, "vid_seg_int": other} for event, own in events.items()}
        for events, other in zip(annotations, others, strict=True)
    ]


def _combination(rng: np.random.Generator, held_out: bool) -> tuple[int, int, int]:
    while True:
        agent, patient, place = (int(k) for k in rng.integers(SYMBOLS, size=3))
        if ((agent + patient + place) % SYMBOLS == 0) == held_out:
            return agent, patient, place


def _roles(verb: str, combination: tuple[int, int, int]) -> Mapping[str, Any]:
    fillers = dict(zip(_FILLERS, combination, strict=True))
    return {
        "Args": {role: f"A {_FILLERS[role[:4]][fillers[role[:4]]]}." for role in reversed(VERBS[verb])},
        "Arg_List": {role: str(place) for place, role in enumerate(VERBS[verb])},
    }


def _film(rng: np.random.Generator, rows: NDArray[np.float32]) -> Features:
    noise = _NOISE * rng.standard_normal(rows.shape)
    return Features({"visual": (rows + noise).astype(np.float32)}, recipe=RECIPE)


def encoder() -> Checkpoint:
    """A contextualizer of random weights for these clips, the same one always."""
    torch.manual_seed(0)
    config = ContextualizerConfig(
        task="embedding",
        modalities=(Modality("visual", WIDTH),),
        max_length=16,
        step=8,
        hidden_size=32,
        ffn_size=64,
        num_layers=1,
        recipe=RECIPE,
    )
    return to_checkpoint(Contextualizer(config))
