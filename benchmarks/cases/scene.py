"""Scene preset, 1,500 shots, float32, two threads."""

from benchmarks.inputs import SCENE
from benchmarks.rows import Row
from benchmarks.whole_model import run as compare


def run() -> list[Row]:
    return compare("scene preset", SCENE, 1500, repeats=4)
