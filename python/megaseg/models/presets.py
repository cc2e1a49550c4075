"""Published configurations of all families by name; a family adds its own to ``PRESETS``.

Family ``mega``: the paper's three models (supplementary, Table 1b); their numbers of heads, which the paper does not
print, are chosen here. Family ``contextualizer``: sizes are chosen here, for "low capacity" (Xiao et al. 2022). Family
``long_range``: Argaw et al. (2023), section 3: k = 30, three layers, R(2+1)D-ResNet50 (video), VGGish and wav2vec 2.0
side by side (audio), BART (language); its widths, which the paper does not print, are the original Transformer's.
Families ``movie_encoder`` and ``scene_encoder``: Chen et al. (2023), up to 1,024 shots of 512 features, and 9 shots;
other widths are chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.engine.model.mega import MegaConfig
from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.engine.model.scene_encoder import SceneEncoderConfig

SCENE = MegaConfig(
    task="scene",
    modalities=(Modality("bassl", 2048), Modality("place", 2048), Modality("clip", 512)),
    max_length=17,
    num_bottleneck=2,
    hidden_size=768,
    ffn_size=3072,
    num_heads=12,
    num_unimodal_layers=2,
    num_fusion_layers=1,
    num_classes=2,
    dropout=0.1,
)
ACT = MegaConfig(
    task="act",
    modalities=(
        Modality("appr", 2048),
        Modality("clip", 512),
        Modality("action", 2048),
        Modality("place", 2048),
        Modality("audio", 2048),
        Modality("subtitle", 768),
    ),
    max_length=3000,
    num_bottleneck=100,
    hidden_size=128,
    ffn_size=128,
    num_heads=4,
    num_unimodal_layers=1,
    num_fusion_layers=1,
    num_classes=5,
    dropout=0.5,
)
# The synopsis model is as wide as the act model's fused rows: C = 128 M, 2 M heads, for its M = 6 modalities.
SYNOPSIS = MegaConfig(
    task="synopsis",
    modalities=(Modality("sentence", 768),),
    max_length=60,
    num_bottleneck=20,
    hidden_size=128 * len(ACT.modalities),
    ffn_size=128 * len(ACT.modalities),
    num_heads=2 * len(ACT.modalities),
    num_unimodal_layers=1,
    num_fusion_layers=0,
    num_classes=5,
    dropout=0.1,
)
CONTEXTUALIZER = ContextualizerConfig("embedding", (Modality("video", 2048),))
LONG_RANGE = LongRangeConfig(
    task="embedding",
    modalities=(Modality("video", 2048), Modality("audio", 128 + 768), Modality("language", 768)),
    video="video",
    audio="audio",
    language="language",
)
MOVIE_ENCODER = MovieEncoderConfig("embedding", (Modality("video", 512),))
SCENE_ENCODER = SceneEncoderConfig("embedding", (Modality("video", 512),))
MEGA = {"scene": SCENE, "act": ACT, "synopsis": SYNOPSIS}
PRESETS: dict[str, ModelConfig] = {
    **MEGA,
    "contextualizer": CONTEXTUALIZER,
    "long-range": LONG_RANGE,
    "movie-encoder": MOVIE_ENCODER,
    "scene-encoder": SCENE_ENCODER,
}


def preset(name: str, *, modalities: Sequence[tuple[str, int]] | None = None, **overrides: Any) -> ModelConfig:
    """A preset with any key replaced, for example ``preset("scene", modalities=[("clip", 512)], num_heads=8)``.

    Raises:
        KeyError: no such preset. CheckpointError: values that do not fit each other.
    """
    if modalities is not None:
        overrides["modalities"] = tuple(Modality(key, size) for key, size in modalities)
    return PRESETS[name].replaced(**overrides)
