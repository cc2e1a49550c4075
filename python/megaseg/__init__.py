"""megaseg: a film, a screenplay or features of shots in, scenes and narrative acts out.

>>> megaseg.segment("film.mp4").scenes[0].last_shot
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
from megaseg.engine.results.writer import set_writer
from megaseg.errors import MegasegError

if TYPE_CHECKING:
    from megaseg.features.text.encoder import Encoder
    from megaseg.pipelines.shipped import segment

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
    "segment",
]


def _save(result: Segmentation, path: Any, format: str | None, **options: Any) -> None:
    from megaseg.export import save

    save(result, path, format, **options)


set_writer(_save)


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: segmenting features needs none of them.
    if name == "Encoder":
        from megaseg.features.text.encoder import Encoder

        return Encoder
    if name == "segment":
        from megaseg.pipelines.shipped import segment

        return segment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
