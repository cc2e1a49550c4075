"""Films to features: one decoding pass, shots, features of shots, dialogue; each computed once for all models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.features.extractor import UnnamedUnits
from megaseg.features.video import dialogue_scenes, similarity
from megaseg.features.video.raw import ShotTimes, raw_features
from megaseg.media.measures import Recording
from megaseg.media.video import Video

Advance = Callable[[str, float, float], object]
"""Called with a stage's name, and how much of it is done of how much in all (0: not known)."""
