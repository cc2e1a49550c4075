"""The model of a pretraining: which modality has which role, and an encoder of random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.errors import FeatureError
from megaseg.training.recipes.pretrain.config import PretrainConfig
from megaseg.training.recipes.pretrain.films import shot_modalities
from megaseg.training.recipes.pretrain.models import ContextualizerPretraining, LongRangePretraining

_ROLES = ("video", "audio", "language")


def roles_of(movies: Mapping[str, Features], config: PretrainConfig) -> dict[str, str]:
    """The modality of each role; a contextualizer reads all that have a row a shot unless some are named.

    Raises:
        FeatureError: a long-range model without video, or with neither audio nor language.
    """
    if config.family == "contextualizer":
        return {name: name for name in shot_modalities(movies, config.modalities)}
    known = list(dict.fromkeys(name for movie in movies.values() for name in movie.modalities))
    named = {role: getattr(config, role) or (role if role in known else "") for role in _ROLES}
    roles = {role: name for role, name in named.items() if name}
    if "video" not in roles or len(roles) < 2:
        missing = "audio or language" if "video" in roles else "video"
        raise FeatureError(f"{missing}: expected the name of a modality, got none; the films have {', '.join(known)}")
    if len(set(roles.values())) < len(roles):
        raise FeatureError(f"video, audio and language: expected different modalities, got {', '.join(roles.values())}")
    return roles


def new_model(
    config: PretrainConfig, roles: Mapping[str, str], widths: Mapping[str, int], recipe: str | None
) -> ContextualizerPretraining | LongRangePretraining:
    """A model of the random weights of the config's seed, over scaled features of the ``widths``.

    Raises:
        CheckpointError: sizes that do not fit each other.
    """
    shared: dict[str, Any] = {
        "task": "embedding",
        "modalities": tuple(Modality(name, widths[name]) for name in roles.values()),
        "max_length": config.length,
        "step": config.length // 2,
        "hidden_size": config.hidden_size,
        "ffn_size": config.ffn_size,
        "num_heads": config.num_heads,
        "num_layers": config.num_layers,
        "dropout": config.dropout,
        "recipe": recipe,
    }
    torch.manual_seed(config.seed)
    if config.family == "contextualizer":
        return ContextualizerPretraining(ContextualizerConfig(**shared), config)
    return LongRangePretraining(LongRangeConfig(**(shared | dict(roles))), config)
