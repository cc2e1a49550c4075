"""Snapshots of streams: safetensors bytes with what later decisions need, and nothing that could run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features, check_times
from megaseg.engine.live.state import ShotBuffer, StreamState
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import FeatureError

FORMAT = "megaseg.stream/2"


def write_snapshot(state: StreamState) -> bytes:
    """A stream whose next event is that of the first shot not delivered; docs/streaming.md has the format."""
    tensors = _named("features", state.kept()) if state.kept_begin < state.num_shots else {}
    if state.acts and state.num_shots:
        names = [modality.name for modality in state.acts.modalities]
        tensors |= _named("acts", dict(zip(names, state.act_features.read(0, state.num_shots), strict=True)))
    if state.times.begin < state.times.end:
        tensors["times"] = state.times.read(state.times.begin, state.num_shots)[0]
    if state.history:
        scores = np.concatenate([np.empty(0, np.float32), *state.scores])
        tensors["scores"] = scores[: state.delivered]
    base = state.time_base
    fields = {
        "model": state.config.to_dict(),
        "acts": state.acts.to_dict() if state.acts else None,
        "num_shots": state.num_shots,
        "decided": state.delivered,
        "foretold": state.provisional_end,
        "closed": state.closed,
        "check": [state.check.doubt, state.check.counted, state.check.again],
        "threshold": state.threshold,
        "provisional": state.provisional,
        "history": state.history,
        "time_base": None if base is None else list(base.as_integer_ratio()),
    }
    stream = json.dumps(fields)
    return safetensors.numpy.save(tensors, {"format": FORMAT, "stream": stream, "sha256": checksum(stream, tensors)})


def checksum(stream: str, tensors: dict[str, NDArray[Any]]) -> str:
    """SHA-256 of the state's JSON, then of each tensor's name, type, shape and values, by name."""
    digest = hashlib.sha256(stream.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _named(kind: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{kind}.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}


def read_snapshot(
    data: bytes, config: ModelConfig, acts: ModelConfig | None, new: Callable[..., StreamState]
) -> StreamState:
    """The stream again, for the same model: its config is checked, whatever backend and compute type run it.

    ``new`` makes the state of a new stream of the model, from its options.

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
        fields = json.loads(metadata["stream"])
        _require_models(fields, config, acts)
        options = {key: fields[key] for key in ("provisional", "history")}
        base = None if fields["time_base"] is None else Fraction(*fields["time_base"])
        state = new(threshold=fields["threshold"], time_base=base, **options)
        _fill(state, fields, tensors)
        return state
    except FeatureError:
        raise
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise FeatureError(f"snapshot: expected a whole snapshot of a stream, got: {error}") from error


def _require_models(fields: dict[str, Any], config: ModelConfig, acts: ModelConfig | None) -> None:
    """Raises FeatureError for other configs than those that the stream ran with."""
    for name, own, model in (("model", fields["model"], config), ("acts", fields["acts"], acts)):
        here = model.to_dict() if model else None
        if json.loads(json.dumps(here)) != own:
            kind = "scene" if name == "model" else "act"
            raise FeatureError(f"snapshot: expected one of this {kind} model, got one of another ({name} differs)")


def _fill(state: StreamState, fields: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    shots, decided, provisional_end = (int(fields[key]) for key in ("num_shots", "decided", "foretold"))
    if not 0 <= decided <= shots or not 0 <= provisional_end <= shots:
        raise FeatureError(
            f"snapshot: expected decided and foretold shots of {shots}, got {decided} and {provisional_end}"
        )
    state.num_shots, state.closed = shots, bool(fields["closed"])
    state.decided = state.delivered = decided
    state.provisional_end = provisional_end
    doubt, counted, again = fields.get("check", (None, 0, 0))
    if not 0 <= again <= counted <= shots or (doubt is not None and not 0 <= doubt < shots):
        raise FeatureError(f"snapshot: expected checks of {shots} shots, got {[doubt, counted, again]!r:.80}")
    state.check.doubt, state.check.counted, state.check.again = doubt, counted, again
    state.go_on(_features("features", tensors, shots - state.kept_begin))
    if state.acts and (own := _features("acts", tensors, shots)) is not None:
        state.act_features.append(own.ordered_for(state.acts.modalities, state.acts.recipe))
    if "times" in tensors:
        times = tensors["times"]
        begin = 0 if state.history or state.acts else shots - len(times)
        if not 0 <= begin <= decided:
            raise FeatureError(f"snapshot: expected times from shot {decided} or before, got them from {begin}")
        check_times(times, state.time_base, shots - begin)
        state.times = ShotBuffer(begin)
        state.times.append([times])
    if state.history:
        scores = tensors["scores"]
        if scores.shape != (decided,) or scores.dtype != np.float32 or not ((scores >= 0) & (scores <= 1)).all():
            raise FeatureError(
                f"snapshot: expected {decided} float32 scores from 0 to 1, got {scores.dtype} {scores.shape}"
            )
        state.scores = [scores] if decided else []


def _features(kind: str, tensors: dict[str, NDArray[Any]], shots: int) -> Features | None:
    """Features of a kind, of so many shots; None of no shot."""
    if not shots:
        return None
    own = {name.removeprefix(f"{kind}."): array for name, array in tensors.items() if name.startswith(f"{kind}.")}
    features = Features.from_mapping(own)
    if features.num_shots != shots:
        raise FeatureError(f"snapshot: expected {kind} of {shots} shots, got {features.num_shots}")
    return features
