"""Small models of the families of encoders of shots, films for them, and what the torch twins say of a film."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.engine.model.scene_encoder import SceneEncoderConfig

Config = ContextualizerConfig | LongRangeConfig | MovieEncoderConfig | SceneEncoderConfig
SIZES = {"video": 7, "audio": 5, "language": 6}
NUMBERS: dict[str, Any] = {"hidden_size": 24, "ffn_size": 20, "num_heads": 3, "num_layers": 2}
SCENE: dict[str, Any] = {"task": "scene", "num_classes": 2, "head_size": 9}


def contextualizer(names: str = "video audio", **changes: Any) -> ContextualizerConfig:
    modalities = tuple(Modality(name, SIZES[name]) for name in names.split())
    numbers = {"task": "embedding", "max_length": 7, "step": 3, **NUMBERS, **changes}
    return ContextualizerConfig(modalities=modalities, **numbers)


def long_range(names: str = "video audio language", **changes: Any) -> LongRangeConfig:
    modalities = tuple(Modality(name, SIZES[name]) for name in names.split())
    roles = {name: name for name in names.split()}
    return LongRangeConfig(
        modalities=modalities, **{"task": "embedding", "max_length": 7, "step": 3, **NUMBERS, **roles, **changes}
    )


def scene_encoder(names: str = "video audio", **changes: Any) -> SceneEncoderConfig:
    modalities = tuple(Modality(name, SIZES[name]) for name in names.split())
    numbers = {"task": "embedding", "max_length": 7, **NUMBERS, **changes}
    return SceneEncoderConfig(modalities=modalities, **numbers)


def movie_encoder(names: str = "video audio", **changes: Any) -> MovieEncoderConfig:
    modalities = tuple(Modality(name, SIZES[name]) for name in names.split())
    numbers = {"max_length": 7, "hidden_size": 24, "output_size": 5, "scale": 3.5, "offset": -0.5, **changes}
    return MovieEncoderConfig("embedding", modalities, **numbers)


def film(config: Config, shots: int, seed: int = 0, *, tokens: int | None = None) -> dict[str, np.ndarray]:
    """A film with about as many tokens as shots, of which some have none and some several."""
    rng = np.random.default_rng(seed + shots)
    rows = {m.name: shots for m in config.modalities}
    found = {}
    if config.token_modality:
        rows[config.token_modality] = shots if tokens is None else tokens
        own = np.sort(rng.integers(0, shots, rows[config.token_modality])).astype(np.int32)
        found[f"{config.token_modality}.shots"] = own
    for modality in config.modalities:
        shape = rows[modality.name], modality.feature_size
        found[modality.name] = rng.standard_normal(shape).astype(np.float32)
    return found


def parts(movie: dict[str, np.ndarray], rng: np.random.Generator, most: int) -> list[dict[str, np.ndarray]]:
    """The movie cut into pushes of random sizes, tokens with their shots, which are counted from the push's first."""
    shots, cuts = len(movie["video"]), [0]
    while cuts[-1] < shots:
        cuts.append(min(shots, cuts[-1] + int(rng.integers(1, most))))
    return [part(movie, a, b) for a, b in itertools.pairwise(cuts)]


def part(movie: dict[str, np.ndarray], begin: int, end: int) -> dict[str, np.ndarray]:
    own = {}
    for name, rows in movie.items():
        ids = movie.get(f"{name.removesuffix('.shots')}.shots")
        within = slice(begin, end) if ids is None else (ids >= begin) & (ids < end)
        own[name] = rows[within] - begin if name.endswith(".shots") else rows[within]
    return own


def windows(config: Config, movie: Mapping[str, np.ndarray]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The first shot and the arrays of each window, by loops alone; of a scene encoder the shot in its middle."""
    shots = len(movie[config.modalities[0].name])
    if isinstance(config, SceneEncoderConfig):
        for middle in range(shots):
            reach = range(middle - config.max_length // 2, middle + config.max_length // 2 + 1)
            rows = [min(max(shot, 0), shots - 1) for shot in reach]
            yield middle, {m.name: movie[m.name][rows] for m in config.modalities}
        return
    length, start = config.max_length, 0
    starts = []
    while start + length < shots:
        starts.append(start)
        start += config.sequences.step
    for begin in (*starts, max(0, shots - length)):
        own = {m.name: movie[m.name][begin : begin + length] for m in config.modalities}
        if name := config.token_modality:
            within = [k for k, shot in enumerate(movie[f"{name}.shots"]) if begin <= shot < begin + length]
            own[name] = movie[name][within] if within else np.zeros((1, movie[name].shape[1]), np.float32)
            ids = [int(movie[f"{name}.shots"][k]) - begin for k in within] or [length]
            own[f"{name}.shots"] = np.array(ids, np.int32)
        yield begin, own


def expected(checkpoint: Checkpoint, movie: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output of a film in float64, of the torch twin: each shot's row from the window whose middle is nearest."""
    config = checkpoint.config
    assert isinstance(config, Config)
    cut = list(windows(config, movie))
    runs = [_of_twin(checkpoint, own) for _, own in cut]
    if isinstance(config, SceneEncoderConfig):
        return {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    shots = len(movie[config.modalities[0].name])
    middles = [begin + (min(config.max_length, shots) - 1) / 2 for begin, _ in cut]
    nearest = [int(np.argmin([abs(shot - middle) for middle in middles])) for shot in range(shots)]
    return {
        name: np.stack([runs[window][name][shot - cut[window][0]] for shot, window in enumerate(nearest)])
        for name in runs[0]
    }


def _of_twin(checkpoint: Checkpoint, window: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import torch

    from megaseg.models import contextualizer as of_shots
    from megaseg.models import long_range as of_modalities
    from megaseg.models import movie_encoder as of_movies
    from megaseg.models import scene_encoder as of_scenes

    config = checkpoint.config
    features = {m.name: torch.from_numpy(window[m.name]).double()[None] for m in config.modalities}
    with torch.no_grad():
        if isinstance(config, MovieEncoderConfig):
            found = of_movies.from_checkpoint(checkpoint, torch.float64)(features)
        elif isinstance(config, ContextualizerConfig | SceneEncoderConfig):
            twin = of_shots if isinstance(config, ContextualizerConfig) else of_scenes
            model = twin.from_checkpoint(checkpoint, torch.float64)
            found = {"embedding": model(features)}
            if config.num_classes:
                found["logits"] = model.logits(found["embedding"])
        else:
            ids = f"{config.token_modality}.shots"
            token_shots = torch.from_numpy(window[ids])[None] if ids in window else None
            batch = of_modalities.LongRangeBatch(features, token_shots=token_shots)
            found = of_modalities.from_checkpoint(checkpoint, torch.float64)(batch)
            found.pop("tokens.language", None)
    return {name: rows[0].numpy() for name, rows in found.items()}
