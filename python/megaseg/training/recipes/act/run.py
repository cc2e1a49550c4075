"""One seed of act training, from movies to checkpoints; an interrupted run goes on after its last phase or round."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from megaseg.errors import FeatureError
from megaseg.evaluation.act import PRIOR, THEORY, ActMetrics, act_metrics, content_free
from megaseg.models import Mega, to_checkpoint
from megaseg.training.loop import Epoch
from megaseg.training.objectives import distillation, synchronisation
from megaseg.training.recipes.act import phases
from megaseg.training.recipes.act.config import ActConfig
from megaseg.training.recipes.act.data import ActMovie, joined
from megaseg.training.recipes.act.embeddings import Pair, batch, embeddings, text_embeddings
from megaseg.training.recipes.act.model import SENTENCE, ShotModel, shot_model, synopsis_model
from megaseg.training.scaling import fit_scalings, unscaled
from megaseg.training.state import Groups, StateFile

Advance = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What a seed trains on. ``gold``: scenes of the validation movies' turning points, by movie name."""

    train: Sequence[ActMovie]
    validation: Sequence[ActMovie]
    gold: Mapping[str, Sequence[Sequence[int]]]
    recipe: str | None
    notes: Mapping[str, Any]  # of the run, for the checkpoints' metadata


class ActRun:
    """One seed: ``run`` leaves act.safetensors, synchronised.safetensors, synopsis.safetensors and log.jsonl."""

    def __init__(self, config: ActConfig, task: Task, folder: Path, advance: Advance = lambda phase: None) -> None:
        lacking = [movie.name for movie in (*task.train, *task.validation) if movie.silver is None]
        if config.variant == "mega*" and lacking:
            raise FeatureError(f"mega*: expected silver distributions of every movie, got none of {lacking[0]}")
        self._config, self._task, self._folder, self._advance = config, task, folder, advance
        rows = {**joined(list(task.train)), SENTENCE: torch.cat([movie.sentences for movie in task.train])}
        self._scalings = fit_scalings(rows, config.components)
        self._train, self._validation = ([self._scaled(m) for m in part] for part in (task.train, task.validation))
        names = config.text_modalities
        self._texts = {m.name: text_embeddings(m, names) for m in (*task.train, *task.validation) if names}
        self._events: list[dict[str, Any]] = []
        self._started = time.monotonic()
        movies = [[movie.name for movie in part] for part in (task.train, task.validation)]
        self._state = StateFile(folder / "state.safetensors", config, movies)

    def _scaled(self, movie: ActMovie) -> ActMovie:
        scenes = {name: self._scalings[name](rows) for name, rows in movie.scenes.items()}
        return dataclasses.replace(movie, scenes=scenes, sentences=self._scalings[SENTENCE](movie.sentences))

    def run(self) -> dict[str, Any]:
        """Train; returns the log's last event.

        Raises:
            CheckpointError: a state file of another configuration or other movies.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        groups, done = self._resume()
        shots, synopsis = self._models()
        if done:
            shots.load_state_dict(groups["shots"])
            synopsis.load_state_dict(groups["synopsis"])
        pair = Pair(shots, synopsis)
        if self._config.variant == "mega":
            pair = self._synchronise(pair, done)
        student = self._distil(pair)
        result = self._deliver(student)
        self._state.remove()
        return result

    def _models(self) -> tuple[ShotModel, Mega]:
        torch.manual_seed(self._config.seed)
        widths = {name: scaling.basis.shape[1] for name, scaling in self._scalings.items()}
        sentence = widths.pop(SENTENCE)
        movies = (*self._train, *self._validation)
        longest = max(len(movie.sentences) for movie in movies)
        if max(movie.num_scenes for movie in movies) > self._config.max_length:
            most = max(movies, key=lambda movie: movie.num_scenes)
            raise FeatureError(
                f"{most.name}: expected at most max_length = {self._config.max_length} scenes, got {most.num_scenes}"
            )
        return (
            shot_model(self._config, widths, self._task.recipe),
            synopsis_model(self._config, sentence, len(widths), max(60, longest)),
        )

    def _synchronise(self, pair: Pair, done: int) -> Pair:
        """Phases 1 and 2; ``done`` counts the synopsis model and the rounds that an earlier run finished."""
        seed = 1000 * self._config.seed
        if done == 0:
            synopsis = phases.train_synopsis(
                pair.synopsis, self._train, self._validation, self._config, seed + 1, self._report("synopsis")
            )
            pair = Pair(pair.shots, synopsis)
            self._save(pair, 1)
        for number in range(max(0, done - 1), self._config.rounds):
            positives = self._expectation(pair, number)
            pair = phases.maximisation(
                pair, self._train, positives, self._config, seed + 10 + number, self._report("round")
            )
            self._save(pair, number + 2)
        return pair

    def _expectation(self, pair: Pair, number: int) -> list[Tensor]:
        """W of every training movie; the log names movies without a pair above lambda, which the round leaves out."""
        config = self._config
        pairs = self._pairs(None if number == 0 and self._texts else pair, self._train)
        threshold, positives = synchronisation.expectation(pairs, config.density, config.band)
        if not any(bool(w.any()) for w in positives):
            raise FeatureError(f"synchronisation: no pair inside the band {config.band} reaches lambda {threshold:.3f}")
        self._events.append(
            {
                "event": "round",
                "round": number,
                "lambda": threshold,
                "density": float(torch.cat([w.flatten() for w in positives]).float().mean()),
                "movies_without_pairs": [m.name for m, w in zip(self._train, positives, strict=True) if not w.any()],
                "aligned": self._aligned(None if number == 0 and self._texts else pair),
            }
        )
        return positives

    def _pairs(self, pair: Pair | None, movies: Sequence[ActMovie]) -> list[tuple[Tensor, Tensor]]:
        """Embeddings of scenes and sentences; without a pair those of the text alone."""
        if not self._texts:
            nothing = torch.zeros(1, 1)
            texts = [(nothing.expand(m.num_scenes, 1), nothing.expand(len(m.sentences), 1)) for m in movies]
            return embeddings(pair, movies, texts, 0.0)
        return embeddings(pair, movies, [self._texts[m.name] for m in movies], self._config.text_share)

    def _targets(self, pair: Pair | None, movies: Sequence[ActMovie]) -> list[Tensor]:
        """p of Eq. 6 by movie, or the teacher's distributions."""
        if self._config.variant == "mega*":
            return [movie.silver for movie in movies if movie.silver is not None]
        with torch.inference_mode():
            pairs = self._pairs(pair, movies)
            qs = [
                movie.labels if pair is None or self._config.labels else self._said(pair.synopsis, movie)
                for movie in movies
            ]
            return [self._transferred(u, v, q) for (u, v), q in zip(pairs, qs, strict=True)]

    def _transferred(self, u: Tensor, v: Tensor, q: Tensor) -> Tensor:
        config = self._config
        return distillation.transferred(
            u @ v.T / config.temperature,
            q,
            ordered=config.ordered,
            sharpness=config.sharpness,
            smoothing=config.smoothing,
        )

    @staticmethod
    def _said(synopsis: Mega, movie: ActMovie) -> Tensor:
        own: Tensor = synopsis({SENTENCE: movie.sentences[None]})[0].softmax(0)
        return own

    def _aligned(self, pair: Pair | None) -> dict[str, float] | None:
        """Figures of p itself on the validation movies, whose synopses p is made from; None without gold scenes."""
        if not self._task.gold or not self._validation:
            return None
        targets = self._targets(pair, self._validation)
        peaks = {m.name: p.argmax(0).tolist() for m, p in zip(self._validation, targets, strict=True)}
        return _figures(act_metrics(self._task.gold, peaks, self._lengths()))

    def _distil(self, pair: Pair) -> ShotModel:
        """Phase 3, from the synchronised model, or from a new one for mega*."""
        config = self._config
        held_out = list(zip(self._validation, self._targets(pair, self._validation), strict=True))
        if config.variant == "mega":
            self._events.append({"event": "synchronised", "aligned": self._aligned(pair)})
            self._deliver_synchronised(pair)
        targets = [target.clone() for target in self._targets(pair, self._train)]
        train = list(zip(self._train, targets, strict=True))
        return phases.distil(pair.shots, train, held_out, config, 1000 * config.seed + 500, self._report("epoch"))

    def _report(self, event: str) -> phases.Report:
        def report(epoch: Epoch[float]) -> None:
            self._events.append(
                {"event": event, "epoch": epoch.number, "loss": epoch.loss, "validation_loss": epoch.validation}
            )
            self._advance(event)

        return report

    def _lengths(self) -> dict[str, int]:
        return {movie.name: movie.num_scenes for movie in self._validation}

    def _deliver_synchronised(self, pair: Pair) -> None:
        """Save the act and the synopsis model as the EM rounds left them, before the distillation."""
        self._deliver_model("synchronised", pair.shots.checkpoint(), {})
        self._deliver_model("synopsis", to_checkpoint(pair.synopsis), {})

    def _deliver_model(self, name: str, checkpoint: Checkpoint, result: Mapping[str, Any]) -> None:
        """Save a model of raw features; its metadata holds the run's notes, the configuration and the result."""
        plain = unscaled(checkpoint, self._scalings)
        training = {**self._task.notes, "config": dataclasses.asdict(self._config), **result}
        metadata = {"training": json.dumps(training)}
        save_checkpoint(self._folder / f"{name}.safetensors", Checkpoint(plain.config, plain.tensors, metadata))

    def _deliver(self, student: ShotModel) -> dict[str, Any]:
        result: dict[str, Any] = {"event": "result", "movies": len(self._validation)}
        if self._task.gold and self._validation:
            with torch.inference_mode():
                peaks = {m.name: student(batch(m.scenes))[0].argmax(0).tolist() for m in self._validation}
            lengths = self._lengths()
            found = act_metrics(self._task.gold, peaks, lengths)
            result |= {"scored": found.movies, "events": found.events, "labels": found.labels}
            result["validation"] = _figures(found)
            result["theory"] = _figures(content_free(self._task.gold, lengths, THEORY))
            result["prior"] = _figures(content_free(self._task.gold, lengths, PRIOR))
        losses = [event["validation_loss"] for event in self._events if event["event"] == "epoch"]
        result["epochs"] = 1 + (losses.index(min(losses)) if self._validation else len(losses) - 1)
        result["seconds"] = round(time.monotonic() - self._started, 1)
        self._deliver_model("act", student.checkpoint(), result)
        self._events.append(result)
        self._write_log()
        return result

    def _write_log(self) -> None:
        with atomic_write(self._folder / "log.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(event) + "\n" for event in self._events), encoding="utf-8")

    def _save(self, pair: Pair, done: int) -> None:
        groups = {"shots": pair.shots.state_dict(), "synopsis": pair.synopsis.state_dict()}
        self._state.save(groups, {"done": done, "events": self._events})
        self._write_log()

    def _resume(self) -> tuple[Groups, int]:
        found = self._state.load()
        if found is None:
            return {}, 0
        groups, progress = found
        self._events = progress["events"]
        return groups, progress["done"]


def finished(folder: Path, config: ActConfig, task: Task) -> dict[str, Any] | None:
    """The result of a finished run of the same configuration and movies, else None."""
    log, kept = folder / "log.jsonl", folder / "act.safetensors"
    if not kept.is_file() or (folder / "state.safetensors").exists():
        return None
    said = json.loads(load_checkpoint(kept).metadata.get("training", "{}"))
    same = json.loads(json.dumps({**task.notes, "config": dataclasses.asdict(config)}))
    if any(said.get(key) != value for key, value in same.items()):
        return None
    events: list[dict[str, Any]] = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return next((event for event in reversed(events) if event["event"] == "result"), None)


def _figures(metrics: ActMetrics) -> dict[str, float]:
    return {key: round(getattr(metrics, key), 4) for key in ("ta", "pa", "d")}
