"""Snapshots of streams: safetensors bytes with what later decisions need, and nothing that could run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features, check_times
from megaseg.engine.live.state import Progress, Tail
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import FeatureError

if TYPE_CHECKING:
    from megaseg.engine.engine import Engine

FORMAT = "megaseg.stream/2"


def write_snapshot(progress: Progress) -> bytes:
    """A stream whose next event is that of the first shot not delivered; docs/streaming.md has the format."""
    begin = max(0, progress.delivered - progress.half)
    tensors = _named("features", progress.engine.config, progress.features, begin, progress.num_shots)
    if progress.acts:
        tensors |= _named("acts", progress.acts.config, progress.whole, 0, progress.num_shots)
    if progress.times.begin < progress.times.end:
        tensors["times"] = progress.times.read(progress.times.begin, progress.num_shots)[0]
    if progress.history:
        scores = np.concatenate([np.empty(0, np.float32), *progress.scores])
        tensors["scores"] = scores[: progress.delivered]
    base = progress.time_base
    state = {
        "model": progress.engine.config.to_dict(),
        "acts": progress.acts.config.to_dict() if progress.acts else None,
        "num_shots": progress.num_shots,
        "decided": progress.delivered,
        "foretold": progress.foretold,
        "closed": progress.closed,
        "threshold": progress.threshold,
        "provisional": progress.provisional,
        "history": progress.history,
        "time_base": None if base is None else list(base.as_integer_ratio()),
    }
    stream = json.dumps(state)
    return safetensors.numpy.save(tensors, {"format": FORMAT, "stream": stream, "sha256": checksum(stream, tensors)})


def checksum(stream: str, tensors: dict[str, NDArray[Any]]) -> str:
    """SHA-256 of the state's JSON, then of each tensor's name, type, shape and values, by name."""
    digest = hashlib.sha256(stream.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _named(kind: str, config: ModelConfig, tail: Tail, begin: int, end: int) -> dict[str, NDArray[Any]]:
    if begin >= end:
        return {}
    names = [f"{kind}.{modality.name}" for modality in config.modalities]
    return dict(zip(names, map(np.ascontiguousarray, tail.read(begin, end)), strict=True))


def read_snapshot(engine: Engine, data: bytes, acts: Engine | None, new: Callable[..., Progress]) -> Progress:
    """The stream again, for the same model: its config is checked, whatever backend and compute type run it.

    Raises:
        FeatureError: not a whole snapshot of this version, or one of another model.
    """
    try:
        tensors = safetensors.numpy.load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        if metadata.get("format") != FORMAT:
            raise FeatureError(f"snapshot: expected format {FORMAT!r}, got {metadata.get('format')!r}")
        if metadata["sha256"] != checksum(metadata["stream"], tensors):
            raise FeatureError("snapshot: expected a whole snapshot of a stream, got one unlike its checksum")
        state = json.loads(metadata["stream"])
        _expect_models(state, engine, acts)
        options = {key: state[key] for key in ("provisional", "history")}
        base = None if state["time_base"] is None else Fraction(*state["time_base"])
        progress = new(engine, threshold=state["threshold"], time_base=base, acts=acts, **options)
        _fill(progress, state, tensors)
        return progress
    except FeatureError:
        raise
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise FeatureError(f"snapshot: expected a whole snapshot of a stream, got: {error}") from error


def _expect_models(state: dict[str, Any], engine: Engine, acts: Engine | None) -> None:
    """The configs that the stream ran with; their thresholds do not matter, the stream has its own."""
    for name, own, model in (("model", state["model"], engine), ("acts", state["acts"], acts)):
        here = model.config.to_dict() if model else None
        if json.loads(json.dumps(here)) != own:
            kind = "scene" if name == "model" else "act"
            raise FeatureError(f"snapshot: expected one of this {kind} model, got one of another ({name} differs)")


def _fill(progress: Progress, state: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    shots, decided, foretold = (int(state[key]) for key in ("num_shots", "decided", "foretold"))
    if not 0 <= decided <= shots or not 0 <= foretold <= shots:
        raise FeatureError(f"snapshot: expected decided and foretold shots of {shots}, got {decided} and {foretold}")
    progress.num_shots, progress.closed = shots, bool(state["closed"])
    progress.decided = progress.delivered = decided
    progress.foretold = foretold
    progress.features = _tail(progress.engine, "features", tensors, max(0, decided - progress.half), shots)
    if progress.acts:
        progress.whole = _tail(progress.acts, "acts", tensors, 0, shots)
    if "times" in tensors:
        times = tensors["times"]
        begin = 0 if progress.history or progress.acts else shots - len(times)
        if not 0 <= begin <= decided:
            raise FeatureError(f"snapshot: expected times from shot {decided} or before, got them from {begin}")
        check_times(times, progress.time_base, shots - begin)
        progress.times = Tail(begin)
        progress.times.append([times])
    if progress.history:
        scores = tensors["scores"]
        if scores.shape != (decided,) or scores.dtype != np.float32 or not ((scores >= 0) & (scores <= 1)).all():
            raise FeatureError(
                f"snapshot: expected {decided} float32 scores from 0 to 1, got {scores.dtype} {scores.shape}"
            )
        progress.scores = [scores] if decided else []


def _tail(engine: Engine, kind: str, tensors: dict[str, NDArray[Any]], begin: int, end: int) -> Tail:
    tail = Tail(begin)
    if begin == end:
        return tail
    own = {name.removeprefix(f"{kind}."): array for name, array in tensors.items() if name.startswith(f"{kind}.")}
    features = Features(own)
    if features.num_shots != end - begin:
        raise FeatureError(f"snapshot: expected {kind} of {end - begin} shots, got {features.num_shots}")
    tail.append(features.ordered_for(engine.config.modalities, engine.config.recipe))
    return tail
