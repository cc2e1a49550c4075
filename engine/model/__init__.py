"""Models: checkpoints, what the configs of all families share, and one module a family."""

# A row a family: importing its module registers it.
from megaseg.engine.model import additive as additive
from megaseg.engine.model import bert as bert
from megaseg.engine.model import contextualizer as contextualizer
from megaseg.engine.model import long_range as long_range
from megaseg.engine.model import mega as mega
from megaseg.engine.model import movie_encoder as movie_encoder
from megaseg.engine.model import reader as reader
from megaseg.engine.model import scene_encoder as scene_encoder
