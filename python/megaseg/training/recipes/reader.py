"""Training of the screenplay reader: one adapter a fold of movies, each in a process of one thread."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError
from megaseg.evaluation.metrics import average_precision
from megaseg.evaluation.split import fold_of
from megaseg.features.screenplay.reader import FORMAT, Gap, gap_tokenizer, read_gaps
from megaseg.features.screenplay.screenplay import Screenplay
from megaseg.models.reader import Adapter, Base, batches
from megaseg.training.loop import Loop, Settings, Work, linear
from megaseg.training.objectives.boundary import log_odds_cross_entropy


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """Folds and optimisation; every epoch draws the share ``negatives`` of the gaps without a boundary anew."""

    folds: int = 3
    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    negatives: float = 0.4
    warmup_steps: int = 60
    seed: int = 0


Labelled = list[tuple[Gap, int]]


def train_reader(
    plays: Sequence[Screenplay],
    output: Path,
    config: ReaderConfig,
    *,
    encoder: Path | None = None,
    advance: Callable[[int], None] = lambda gaps: None,
    notes: Mapping[str, Any] | None = None,
) -> list[float]:
    """Train and write a reader; returns the AP of each fold over the read gaps of the movies that it held out.

    Finished folds are kept in ``OUTPUT.folds/`` until all have finished: an interrupted run trains the others only.
    ``notes`` go before the rest of the file's metadata on its training.

    Raises:
        FeatureError: no labelled screenplay outside or inside one of the folds.
    """
    labelled = [play for play in plays if play.labels is not None]
    folds = {play.name: fold_of(play.name, config.folds) for play in labelled}
    if set(folds.values()) != set(range(config.folds)) or config.folds < 2:
        raise FeatureError(f"expected labelled screenplays in each of {config.folds} folds, got {len(labelled)} in all")
    base, tokenizer = Base(encoder), gap_tokenizer(encoder)
    gaps = {play.name: _labelled(play, tokenizer) for play in labelled}
    folder = output.with_name(f"{output.name}.folds")
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(config.folds, mp_context=context) as pool:
        queue = manager.Queue()
        jobs = []
        for fold in range(config.folds):
            train = [gap for name, own in gaps.items() if folds[name] != fold for gap in own]
            held_out = [gap for name, own in gaps.items() if folds[name] == fold for gap in own]
            path = folder / f"{fold}.safetensors"
            jobs.append(pool.submit(_train_fold, train, held_out, path, config, fold, encoder, queue))
        precisions = _gather(jobs, queue, advance)
    training = {**(notes or {}), "config": asdict(config), "movies": len(labelled), "held_out_ap": precisions}
    save_reader(
        output, [_finished(folder / f"{fold}.safetensors", base) for fold in range(config.folds)], folds, training
    )
    for path in (*folder.iterdir(), folder):
        path.rmdir() if path.is_dir() else path.unlink()
    return precisions


def _labelled(play: Screenplay, tokenizer: Any) -> Labelled:
    labels = play.labels
    return [] if labels is None else [(gap, int(labels[gap.row])) for gap in read_gaps(play.blocks, tokenizer)]


def save_reader(
    path: Path, adapters: Sequence[Adapter], folds: Mapping[str, int], training: Mapping[str, object]
) -> None:
    """Write the adapters of all folds in float16, with the fold that held out each training movie."""
    tensors = {
        f"fold.{number}.{name}": tensor.detach().half().contiguous()
        for number, adapter in enumerate(adapters)
        for name, tensor in adapter.state_dict().items()
    }
    metadata = {"format": FORMAT, "folds": json.dumps(dict(folds)), "training": json.dumps(dict(training))}
    with atomic_write(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata)


def _finished(path: Path, base: Base) -> Adapter:
    """The adapter of a finished fold."""
    adapter = Adapter(base)
    adapter.load_state_dict(safetensors.torch.load_file(path))
    return adapter


def _gather(jobs: list[Future[float]], queue: Any, advance: Callable[[int], None]) -> list[float]:
    while not all(job.done() for job in jobs):
        try:
            advance(queue.get(timeout=1))
        except Empty:
            continue
    return [job.result() for job in jobs]


def _train_fold(
    train: Labelled, held_out: Labelled, path: Path, config: ReaderConfig, fold: int, encoder: Path | None, queue: Any
) -> float:
    torch.set_num_threads(1)
    torch.manual_seed(config.seed + fold)
    base = Base(encoder)
    if path.is_file():
        adapter = _finished(path, base)
    else:
        adapter = _loop(Adapter(base), train, config, fold).run(on_batch=lambda batch: queue.put(len(batch[0])))
        with atomic_write(path) as temporary:
            safetensors.torch.save_file(adapter.state_dict(), temporary)
    adapter.eval()
    scores = np.zeros(len(held_out))
    with torch.inference_mode():
        for batch in batches([len(gap.ids) for gap, _ in held_out], 2048):
            scores[batch] = adapter([held_out[i][0] for i in batch]).numpy()
    return average_precision([label for _, label in held_out], scores)


def _loop(adapter: Adapter, train: Labelled, config: ReaderConfig, fold: int) -> Loop[Adapter, list[int], None]:
    """The loop of a fold; an example is a mini-batch of gaps, which MiniLM reads together."""
    rng = np.random.default_rng((config.seed, fold))
    positives = sum(label for _, label in train)
    steps = math.ceil((positives + int(config.negatives * (len(train) - positives))) / config.batch_size)

    def loss(model: Adapter, rows: list[int]) -> Tensor:
        labels = torch.tensor([float(train[row][1]) for row in rows])
        return log_odds_cross_entropy(model([train[row][0] for row in rows]), labels)

    def batches(epoch: int) -> Iterator[tuple[list[int]]]:
        return ((rows,) for rows in _epoch(train, config, rng))

    settings = Settings(
        config.epochs,
        config.learning_rate,
        linear(config.warmup_steps),
        config.weight_decay,
        config.seed + fold,
        betas=(0.9, 0.999),
    )
    return Loop(adapter, Work(batches, steps, loss), settings)


def _epoch(train: Labelled, config: ReaderConfig, rng: np.random.Generator) -> Iterator[list[int]]:
    """All boundaries and a share of the rest, in random batches of similar length."""
    labels = np.array([label for _, label in train])
    negatives = rng.permutation(np.flatnonzero(labels == 0))
    rows = np.concatenate([np.flatnonzero(labels), negatives[: int(config.negatives * len(negatives))]])
    rng.shuffle(rows)
    for start in range(0, len(rows), 20 * config.batch_size):
        group = rows[start : start + 20 * config.batch_size]
        group = group[np.argsort([len(train[row][0].ids) for row in group], kind="stable")]
        parts = [group[i : i + config.batch_size].tolist() for i in range(0, len(group), config.batch_size)]
        rng.shuffle(parts)
        yield from parts
