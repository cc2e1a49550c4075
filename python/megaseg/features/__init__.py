"""Features of sources: what ``megaseg features`` writes, and what a pipeline makes of films and screenplays.

``RECIPES`` is the table of recipes and their extractors; a checkpoint names the recipe that its model reads.
``ScreenplayExtractor`` makes the two of screenplays (extra ``megaseg[text]``), ``build_features`` a folder of files.

>>> (play,) = read_screenplays("lighthouse.fountain")
>>> features = ScreenplayExtractor().read(play).features("screenplay-blocks/1")
"""

from megaseg.features.build import Built, build_features
from megaseg.features.extractor import Extractor, Reading
from megaseg.features.recipe import RECIPES, Recipe, recipe_for
from megaseg.features.screenplay.extractor import ScreenplayExtractor
from megaseg.features.screenplay.files import parse_screenplay, parse_screenplays, read_screenplays
from megaseg.features.screenplay.screenplay import Block, Screenplay
from megaseg.features.video.extractor import VideoExtractor

__all__ = [
    "RECIPES",
    "Block",
    "Built",
    "Extractor",
    "Reading",
    "Recipe",
    "Screenplay",
    "ScreenplayExtractor",
    "VideoExtractor",
    "build_features",
    "parse_screenplay",
    "parse_screenplays",
    "read_screenplays",
    "recipe_for",
]
