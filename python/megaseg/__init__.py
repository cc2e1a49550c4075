"""megaseg: per-shot features in, scenes and narrative acts out.

>>> engine = megaseg.Engine.from_checkpoint("screenplay-scenes")
>>> result = engine.segment("movie.npz")
>>> result.scenes[0].last_shot
"""

from typing import TYPE_CHECKING, Any

from megaseg._version import __version__ as __version__
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.feature_files import load_features, save_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint, ModelConfig, load_checkpoint, save_checkpoint
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import MegasegError

if TYPE_CHECKING:
    from megaseg.features.text.encoder import Encoder

__all__ = [
    "Checkpoint",
    "Encoder",
    "Engine",
    "Features",
    "MegasegError",
    "ModelConfig",
    "Segmentation",
    "load_checkpoint",
    "load_features",
    "save_checkpoint",
    "save_features",
]


def __getattr__(name: str) -> Any:
    if name == "Encoder":  # imported when it is asked for: segmenting features needs none of it
        from megaseg.features.text.encoder import Encoder

        return Encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
