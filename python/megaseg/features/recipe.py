"""The table of recipes: the extractor of each, and the unit that a row of its features is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from megaseg.engine.inputs.features import OtherRecipe
from megaseg.features.extractor import Extractor
from megaseg.features.screenplay import blocks, scenes
from megaseg.features.screenplay.extractor import ScreenplayExtractor
from megaseg.features.video import dialogue_scenes, similarity
from megaseg.features.video.extractor import VideoExtractor


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe, by the name that feature files and checkpoints bear.

    ``units`` is the track whose segments are the rows, such as ``scenes``; None where a row is a shot of the source.
    """

    name: str
    extractor: type[Extractor]
    units: str | None = None


# Of each kind of source, the recipe of a model that names none comes first.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(blocks.RECIPE, ScreenplayExtractor),
        Recipe(scenes.RECIPE, ScreenplayExtractor, units="scenes"),
        Recipe(similarity.RECIPE, VideoExtractor),
        Recipe(dialogue_scenes.RECIPE, VideoExtractor, units="scenes"),
        Recipe(similarity.RAW, VideoExtractor),
    )
}


def recipe_for(source: Any, wanted: str | None) -> Recipe:
    """The recipe by which a model whose config names the recipe ``wanted`` reads a source, such as a screenplay.

    Raises:
        OtherRecipe: no extractor makes that recipe of such a source.
    """
    own = [recipe for recipe in RECIPES.values() if isinstance(source, recipe.extractor.reads)]
    found = next((recipe for recipe in own if wanted in (None, recipe.name)), None)
    if found is None:
        names = " or ".join(recipe.name for recipe in own)
        raise OtherRecipe(f"recipe: the checkpoint expects {wanted!r}, {source.name} gives {names}")
    return found
