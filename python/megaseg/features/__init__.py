"""Feature extraction: what ``megaseg features`` runs. Sentence vectors need the extra ``megaseg[text]``."""

from megaseg.features.build import Built, build_features
from megaseg.features.recipe import RECIPE, screenplay_features
from megaseg.features.screenplay.screenplay import Block, Screenplay, read_screenplays

__all__ = ["RECIPE", "Block", "Built", "Screenplay", "build_features", "read_screenplays", "screenplay_features"]
