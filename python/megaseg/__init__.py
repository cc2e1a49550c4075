"""megaseg: per-shot features in, scenes and narrative acts out.

>>> engine = megaseg.Engine.from_checkpoint("screenplay-scenes")
>>> result = engine.segment("movie.npz")
>>> result.scenes[0].last_shot
"""

from megaseg._version import __version__ as __version__
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.feature_files import load_features, save_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint, ModelConfig, load_checkpoint, save_checkpoint
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import MegasegError

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
