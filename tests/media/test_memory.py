"""Memory of a pass does not grow with the film."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from films import Look, Tone, flat, write_film

RATE = 2
SOUND = 8_000
# Prints frames, and the peak of resident memory in MiB here and in the child.
READ = """
import json, resource, sys
from pathlib import Path
from toy_measures import ALL
from megaseg.media.reading import read_video
from megaseg.media.video import Video
recording = read_video(Video("film", Path(sys.argv[1])), ALL, cache=Path(sys.argv[2]))
peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([len(recording.frame_ticks) - 1, *peaks]))
"""


def peaks(folder: Path, minutes: int) -> tuple[float, float]:
    """Peaks of parent and child that read so many minutes."""
    frames = minutes * 60 * RATE
    look = Look(codec="mpeg4", rate=RATE, options={"g": "24"})
    silence = np.zeros((1, minutes * 60 * SOUND), np.float32)
    levels = np.arange(frames) // 7 * 37 % 256
    sound = [Tone(silence, rate=SOUND, codec="flac")]
    path = write_film(folder / f"{minutes}.mkv", flat(levels.tolist()), look, sound=sound)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(folder / "cache")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    count, parent, child = json.loads(done.stdout)
    assert count == frames
    return parent, child


@pytest.mark.slow
def test_three_hours_take_the_memory_of_three_minutes(tmp_path: Path) -> None:
    short_parent, short_child = peaks(tmp_path, 3)
    long_parent, long_child = peaks(tmp_path, 180)
    assert short_child < 300
    assert long_child - short_child < 24  # MiB: what one part of 6,000 frames holds
    assert long_parent - short_parent < 24
