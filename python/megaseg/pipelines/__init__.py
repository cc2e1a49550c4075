"""From a film, a screenplay or a feature file to its result: the one way of Python, the commands, the service, Ray.

>>> pipeline = Pipeline.from_checkpoints(["screenplay-scenes", "screenplay-acts"])
>>> result = pipeline.segment("lighthouse.fountain")
"""

from megaseg.pipelines.explained import Explained
from megaseg.pipelines.pipeline import Pipeline
from megaseg.pipelines.shipped import Pipelines, segment, shipped_for
from megaseg.pipelines.sources import FeatureFile, Source, find_source, find_sources, iter_sources, open_source

__all__ = [
    "Explained",
    "FeatureFile",
    "Pipeline",
    "Pipelines",
    "Source",
    "find_source",
    "find_sources",
    "iter_sources",
    "open_source",
    "segment",
    "shipped_for",
]
