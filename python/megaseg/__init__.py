"""megaseg: per-shot features in, scenes and narrative acts out.

>>> engine = megaseg.Engine.from_checkpoint("screenplay-scenes")
>>> result = engine.segment("movie.npz")
>>> result.scenes[0].last_shot
"""

from megaseg.engine.checkpoint import Checkpoint, ModelConfig, load_checkpoint, save_checkpoint
from megaseg.engine.engine import Engine
from megaseg.engine.features import Features, load_features, save_features
from megaseg.engine.segmentation import Segmentation
from megaseg.errors import MegasegError

__version__ = "0.1.0"
__all__ = [
    "Checkpoint",
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
