"""From a source (a feature file, a screenplay) to its result: the one way of Python, the commands, the service and Ray.

>>> pipeline = Pipeline.from_checkpoints(["screenplay-scenes", "screenplay-acts"])
>>> result = pipeline.segment("lighthouse.fountain")
"""

from megaseg.pipelines.pipeline import Pipeline
from megaseg.pipelines.sources import FeatureFile, Source, find_source, find_sources, iter_sources, open_source

__all__ = ["FeatureFile", "Pipeline", "Source", "find_source", "find_sources", "iter_sources", "open_source"]
