"""Training of the screenplay reader: one adapter a fold of movies, side by side, one thread each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import safetensors.torch
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional

from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError
from megaseg.evaluation.split import fold_of
from megaseg.features.screenplay.reader import Adapter, Gap, base_weights, read_gaps, save_reader
from megaseg.features.screenplay.screenplay import Screenplay
from megaseg.features.text.minilm import batches, load_minilm


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """``negatives``: share of the gaps without a boundary that an epoch draws, afresh each time."""

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
    minilm: Path | None = None,
    advance: Callable[[int], None] = lambda gaps: None,
) -> list[float]:
    """Train and write a reader; returns the AP of each fold over the read gaps of the movies that it held out.

    A fold that finished waits in ``OUTPUT.folds/`` until all have, so an interrupted run goes on where it was.

    Raises:
        FeatureError: no labelled screenplay outside or inside one of the folds.
    """
    labelled = [play for play in plays if play.labels is not None]
    folds = {play.name: fold_of(play.name, config.folds) for play in labelled}
    if set(folds.values()) != set(range(config.folds)) or config.folds < 2:
        raise FeatureError(f"expected labelled screenplays in each of {config.folds} folds, got {len(labelled)} in all")
    _, tokenizer = load_minilm(minilm)
    gaps = {p.name: [(gap, int(p.labels[gap.row])) for gap in read_gaps(p.blocks, tokenizer)] for p in labelled
            if p.labels is not None}  # fmt: skip
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
            jobs.append(pool.submit(_train_fold, train, held_out, path, config, fold, minilm, queue))
        precisions = _gather(jobs, queue, advance)
    adapters = []
    for fold in range(config.folds):
        adapters.append(Adapter())
        adapters[-1].load_state_dict(safetensors.torch.load_file(folder / f"{fold}.safetensors"))
    training = {"command": f"megaseg train reader SCREENPLAYS -o {output.name}", "config": asdict(config),
                "movies": len(labelled), "held_out_ap": precisions}  # fmt: skip
    save_reader(output, adapters, folds, training)
    for path in (*folder.iterdir(), folder):
        path.rmdir() if path.is_dir() else path.unlink()
    return precisions


def _gather(jobs: list[Future[float]], queue: Any, advance: Callable[[int], None]) -> list[float]:
    while not all(job.done() for job in jobs):
        try:
            advance(queue.get(timeout=1))
        except Empty:
            continue
    return [job.result() for job in jobs]


def _train_fold(
    train: Labelled, held_out: Labelled, path: Path, config: ReaderConfig, fold: int, minilm: Path | None, queue: Any
) -> float:
    torch.set_num_threads(1)
    torch.manual_seed(config.seed + fold)
    weights = base_weights(load_minilm(minilm)[0])
    adapter = Adapter()
    if path.is_file():
        adapter.load_state_dict(safetensors.torch.load_file(path))
    else:
        _fit(adapter, weights, train, config, fold, queue.put)
        with atomic_write(path) as temporary:
            safetensors.torch.save_file(adapter.state_dict(), temporary)
    adapter.eval()
    scores = np.zeros(len(held_out))
    with torch.inference_mode():
        for batch in batches([len(gap.ids) for gap, _ in held_out], 2048):
            scores[batch] = adapter(weights, [held_out[i][0] for i in batch]).numpy()
    return float(average_precision_score([label for _, label in held_out], scores))


def _fit(
    adapter: Adapter, weights: Any, train: Labelled, config: ReaderConfig, fold: int, advance: Callable[[int], None]
) -> None:
    rng = np.random.default_rng((config.seed, fold))
    plan = [batch for _ in range(config.epochs) for batch in _epoch(train, config, rng)]
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    for step, rows in enumerate(plan):
        # Linear warm-up, then linear decay to nothing.
        scale = min(1.0, (step + 1) / config.warmup_steps) * (1 - step / len(plan))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * scale
        logits = adapter(weights, [train[row][0] for row in rows])
        labels = torch.tensor([float(train[row][1]) for row in rows])
        loss = functional.binary_cross_entropy_with_logits(logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
        optimizer.step()
        advance(len(rows))


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
