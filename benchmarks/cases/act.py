"""Act preset, 3,000 shots and six modalities, float32, two threads."""

from benchmarks.inputs import ACT
from benchmarks.rows import Row
from benchmarks.whole_model import run as compare


def run() -> list[Row]:
    return compare("act preset", ACT, 3000, repeats=9)
