"""Few-label curve of scene boundaries on MovieNet-SSeg: ``python -m benchmarks.pretraining.movienet FEATURES WORK``.

FEATURES has folders ``train`` and ``val``, as ``megaseg features movienet`` writes them. Encoders are pretrained on the
training films without their labels, into WORK. Each run is a line of ``benchmarks/results/pretraining/movienet.jsonl``;
runs that are there are not run again. The films with labels are drawn by seed; sixteen of the validation films choose
the epoch, and AP is that of the engine, pooled over all shots of all 64. Weights stay in WORK: they never ship.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.logged import RESULTS, read
from megaseg import Engine, load_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import ENCODER, Checkpoint, load_checkpoint, save_checkpoint
from megaseg.evaluation.scene import evaluate_scenes
from megaseg.training.corpus import Corpus
from megaseg.training.recipes.head.boundary import train_boundary
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.pretrain.config import config_of
from megaseg.training.recipes.pretrain.run import pretrain
from megaseg.training.recipes.scene.config import SceneConfig
from megaseg.training.recipes.scene.trainer import SceneTrainer

LOG = RESULTS / "pretraining" / "movienet.jsonl"
SETTINGS = Path(__file__).with_name("movienet.json")
JUDGES = 16  # validation films that choose the epoch
Movies = Mapping[str, Features]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plan", default="curve", help="a list of runs in movienet.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings = json.loads(SETTINGS.read_text())
    Runs(given.features, given.work, settings, given.threads).plan(given.plan)


def _planned(plan: list[dict[str, Any]]) -> list[tuple[str, str, int, int]]:
    return [
        (part["method"], mode, movies, seed)
        for part in plan
        for movies in part["movies"]
        for seed in part["seeds"]
        for mode in part["modes"]
    ]


class Runs:
    """Films in memory, and the log; ``settings`` has methods, and plans of what to run."""

    def __init__(self, features: Path, work: Path, settings: dict[str, Any], threads: int, log: Path = LOG) -> None:
        self.work, self._settings, self._threads, self._log = work, settings, threads, log
        self.train, self._val = (_films(features / part) for part in ("train", "val"))
        self._judges = {name: self._val[name] for name in sorted(self._val)[:: len(self._val) // JUDGES][:JUDGES]}
        log.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)

    def plan(self, name: str) -> None:
        """The runs of a plan that are not in the log."""
        for method, mode, movies, seed in _planned(self._settings["plans"][name]):
            self.run(method, mode, movies, seed)

    def run(self, method: str, mode: str, movies: int, seed: int) -> None:
        """Train and judge one model, unless its line is there."""
        config = self._config(method, mode, movies, seed)
        key = {"task": "movienet", "method": method, "mode": mode, "movies": movies, "seed": seed}
        if any(key.items() <= line.items() and line["config"] == config for line in read(self._log)):
            return
        begun = time.perf_counter()
        order = np.random.default_rng(100 + seed).permutation(sorted(self.train))
        chosen = {name: self.train[name] for name in order[:movies].tolist()}
        make: Callable[..., Checkpoint] = self._mega if method == "mega" else self._boundary
        checkpoint = make(method, mode, chosen, config)
        seconds = time.perf_counter() - begun
        engine = Engine.from_checkpoint(checkpoint, compute_type="float32", num_threads=self._threads)
        figures = evaluate_scenes(engine, self.reads(method, self._val))
        save_checkpoint(self.work / f"{method}-{mode}-{movies}-{seed}.safetensors", checkpoint)
        line = key | {"ap": round(figures.ap, 5), "f1": round(figures.f1, 5), "map": round(figures.map, 5)}
        line |= {"seconds": round(seconds, 1), "config": config}
        with self._log.open("a") as log:
            log.write(json.dumps(line) + "\n")
        print({name: value for name, value in line.items() if name != "config"}, flush=True)

    def _config(self, method: str, mode: str, movies: int, seed: int) -> dict[str, Any]:
        """Everything that fixes a run besides its films."""
        own = self._settings["methods"][method]
        if method == "mega":
            return {"seed": seed, **own["scene"]}
        head = own["heads"][mode]
        return {"pretraining": own["pretraining"], "head": {"seed": seed, **head["all"], **head.get(str(movies), {})}}

    def _boundary(self, method: str, mode: str, chosen: Movies, config: dict[str, Any]) -> Checkpoint:
        encoder = self._encoder(method, config["pretraining"])
        settings = HeadConfig(**config["head"])
        checkpoint, history = train_boundary(
            encoder, self.reads(method, chosen), self.reads(method, self._judges), settings,
            fine_tune=mode == "fine-tuned", from_scratch=mode == "scratch",
        )  # fmt: skip
        print([round((epoch.validation or {}).get("ap", 0.0), 4) for epoch in history], flush=True)
        return checkpoint

    def _mega(self, method: str, mode: str, chosen: Movies, config: dict[str, Any]) -> Checkpoint:
        parts = [Corpus.from_movies(self.reads(method, movies)) for movies in (chosen, self._judges)]
        state = self.work / f"mega-{config['seed']}-{len(chosen)}.state"
        checkpoint, _ = SceneTrainer(SceneConfig(**config), parts[0], parts[1], state).run(
            lambda epoch: print(
                epoch.number, round(epoch.loss, 4), epoch.validation and epoch.validation.ap, flush=True
            )
        )
        state.unlink(missing_ok=True)
        return checkpoint

    def _encoder(self, method: str, config: dict[str, Any]) -> Checkpoint:
        """The encoder of a method, made when it is first wanted."""
        folder = self.work / method
        wanted = json.dumps(config, sort_keys=True)
        if not ((folder / "config.json").is_file() and (folder / "config.json").read_text() == wanted):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            self.pretrain(method, config, folder)
            (folder / "config.json").write_text(wanted)
        return load_checkpoint(folder / ENCODER)

    def pretrain(self, method: str, config: dict[str, Any], folder: Path) -> None:
        """Write the encoder of the training films, without their labels, into a new folder."""
        pretrain(
            self.train, config_of(config["family"])(**_tuples(config)), folder, lambda line: print(line, flush=True)
        )

    def reads(self, method: str, movies: Movies) -> dict[str, Features]:
        """Films with the modalities that a method reads alone."""
        names = self._settings["methods"][method]["modalities"]
        return {film: _only(features, names) for film, features in movies.items()}


def _films(folder: Path) -> dict[str, Features]:
    return {path.stem: load_features(path) for path in sorted(folder.glob("*.npz"))}


def _only(features: Features, names: list[str]) -> Features:
    tokens = {name: shots for name, shots in features.token_shots.items() if name in names}
    own = {name: features.modalities[name] for name in names}
    return dataclasses.replace(features, modalities=own, token_shots=tokens)


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


if __name__ == "__main__":
    main()
