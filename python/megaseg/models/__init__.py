"""The trainable reference model in torch (extra ``train``). Its state-dict names are the checkpoint's tensor names."""

from megaseg.errors import UnsupportedError

try:
    from megaseg.models.contextualizer import Contextualizer
    from megaseg.models.long_range import LongRange, LongRangeBatch
    from megaseg.models.mega import Mega, from_checkpoint, to_checkpoint
    from megaseg.models.movie_encoder import MovieEncoder
    from megaseg.models.presets import PRESETS, preset
    from megaseg.models.scene_encoder import SceneEncoder
except ImportError as error:
    raise UnsupportedError(f"megaseg.models needs the extra train: pip install 'megaseg[train]' ({error})") from error

__all__ = [
    "PRESETS",
    "Contextualizer",
    "LongRange",
    "LongRangeBatch",
    "Mega",
    "MovieEncoder",
    "SceneEncoder",
    "from_checkpoint",
    "preset",
    "to_checkpoint",
]
