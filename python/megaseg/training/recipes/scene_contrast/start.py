"""The weights that a scene encoder begins with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from megaseg.models.scene_encoder import SceneEncoder

_SHARPNESS = 0.1  # of the first attention, against torch's own start


@torch.no_grad()
def begin_as_mean(encoder: SceneEncoder) -> None:
    """Have an encoder begin as the mean of its shots' projected rows, each normalised.

    The class token is zero, the last layer attends to nearly all shots alike and hands on a rotation of what it reads,
    back as it was; every other branch adds nothing. Distances of scenes are then those of their mean features as far as
    ``hidden_size`` keeps them, and contrast goes on from there.
    """
    size = encoder.config.hidden_size
    nn.init.zeros_(encoder.class_token)
    nn.init.zeros_(encoder.position.weight)
    layers: list[Any] = list(encoder.layers)
    projections: list[Any] = list(encoder.modalities.values())
    for own in projections:
        nn.init.orthogonal_(own.proj.weight)
        nn.init.zeros_(own.proj.bias)
    for layer in layers:
        nn.init.zeros_(layer.linear2.weight)
        nn.init.zeros_(layer.linear2.bias)
        nn.init.zeros_(layer.self_attn.out_proj.weight)
    for layer in layers[-1:]:
        inputs = layer.self_attn.in_proj_weight
        inputs[: 2 * size] *= _SHARPNESS
        nn.init.orthogonal_(inputs[2 * size :])
        layer.self_attn.out_proj.weight.copy_(inputs[2 * size :].T)


def keep_layers(encoder: SceneEncoder) -> None:
    """Have training change nothing but the projections of features and the final norm."""
    for name, weight in encoder.named_parameters():
        weight.requires_grad_(name.startswith(("modalities.", "norm.")))
