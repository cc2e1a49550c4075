"""A film's whole way to its result beside plain decoding, in turns, in fresh processes without a cache.

The film is the example's, scaled to 1080p with noise, 120 s of H.264 at 2.7 Mbit/s; ``--only FILE`` takes others.
Needs ffmpeg.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rows import ROOT, Row, row_of

TURNS = 3
SECONDS = 120
MUST, AIM = 0.6, 0.9  # of plain decoding
_SCENEDETECT = os.environ.get("SCENEDETECT", "scenedetect")  # PySceneDetect's command, in an environment of its own


def run(only: tuple[str, ...] = ()) -> list[Row]:
    """``only`` names films to take in place of the drawn one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = [Path(film) for film in only] or [_film(folder)]
        return [row for film in films for row in _rows(film, folder)]


def _film(folder: Path) -> Path:
    drawn, film = folder / "drawn.mp4", folder / "1080p.mp4"
    subprocess.run([sys.executable, ROOT / "examples" / "draw_film.py", drawn], check=True)
    look = ["-vf", "scale=1920:1080,noise=alls=8:allf=t", "-b:v", "2700k", "-preset", "veryfast", "-c:a", "aac"]
    loop = ["-stream_loop", "-1", "-i", drawn, "-t", str(SECONDS)]
    subprocess.run(["ffmpeg", "-v", "error", *loop, *look, film], check=True)
    return film


def _rows(film: Path, folder: Path) -> list[Row]:
    ours = [sys.executable, "-m", "megaseg", "segment", film, "-c", "video-scenes", "--json"]
    subjects: dict[str, list[object]] = {
        "ffmpeg -f null": ["ffmpeg", "-v", "error", "-i", film, "-map", "0:v:0", "-f", "null", "-"],
        "megaseg segment": ours,
        "megaseg segment, transnetv2": [*ours, "--detector", "transnetv2"],
        "megaseg segment, from its cache": ours,
    }
    if shutil.which(_SCENEDETECT):
        subjects["scenedetect detect-adaptive"] = [_SCENEDETECT, "-q", "-i", film, "detect-adaptive"]
    measured: dict[str, list[tuple[float, float]]] = {subject: [] for subject in subjects}
    for turn in range(TURNS):
        for subject, command in subjects.items():
            if "transnetv2" in subject and turn:
                continue
            cache = "kept" if "cache" in subject else ""
            measured[subject].append(_measure(command, folder / cache if cache else None))
    length = _seconds(film)
    decoding = sorted(seconds for seconds, _ in measured["ffmpeg -f null"])[TURNS // 2]
    case = f"film, {_name(film, folder)}, {length:.0f} s"
    rows = []
    for subject, values in measured.items():
        values = values[1:] if "cache" in subject else values  # the first fills it
        seconds = sorted(value for value, _ in values)
        facts: dict[str, object] = {"of_decoding": round(decoding / seconds[len(seconds) // 2], 2)}
        facts["peak_mib"] = round(max(peak for _, peak in values))
        if subject == "megaseg segment":
            share = decoding / seconds[len(seconds) // 2]
            met = "aim" if share >= AIM else "must" if share >= MUST else "missed"
            facts |= {"must": MUST, "aim": AIM, "speed": met}
        rows.append(row_of(case, subject, "x real time", [length / value for value in seconds], **facts))
    return rows


def _name(film: Path, folder: Path) -> str:
    return "drawn, 1080p" if film.parent == folder else film.stem


def _measure(command: list[object], cache: Path | None) -> tuple[float, float]:
    """Seconds of a command, and the most MiB that it and its children held at once, sampled."""
    own = {"PYTHONPATH": str(ROOT / "python"), "MEGASEG_CACHE": "" if cache is None else str(cache)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command], env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return seconds, peak


def _resident(pid: int) -> float:
    """MiB that a process and its descendants hold."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+)", text)
    return (int(found[1]) / 1024 if found else 0.0) + sum(_resident(int(child)) for child in children)


def _seconds(film: Path) -> float:
    from megaseg.media.reading import probe

    return float(probe(film).duration or 0.0)
