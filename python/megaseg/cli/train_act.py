"""``megaseg train act``: labelled synopses and features by scene to act checkpoints, one a seed."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, print_json, progress
from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.act import read_gold
from megaseg.evaluation.split import select_fold
from megaseg.features.build import file_name
from megaseg.features.text.synopsis import read_synopses

if TYPE_CHECKING:
    from megaseg.training.act.config import ActConfig
    from megaseg.training.act.data import ActMovie

SETTINGS = Path(__file__).parent.parent / "training" / "screenplay-acts.json"


def act(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files, one row per scene.")],
    synopses: Annotated[Path, typer.Option(help="JSONL: name, sentences, annotations of five sentences each.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run: one folder a seed.")],
    silver: Annotated[Path | None, typer.Option(help="A teacher's distributions (.npz), for --variant mega*.")] = None,
    gold: Annotated[
        Path | None, typer.Option(help="CSV of gold scenes to score validation by; default: arg-max of --silver.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="JSON of ActConfig fields; default: the shipped model's.")] = None,
    variant: Annotated[str | None, typer.Option(help="mega, or mega* (distil from --silver).")] = None,
    align_in_shots: Annotated[bool, typer.Option(help="Alignment encoding in shots (Table 2a).")] = True,
    align_in_bottlenecks: Annotated[bool, typer.Option(help="Alignment encoding in bottlenecks (Table 2b).")] = True,
    late_fusion: Annotated[bool, typer.Option("--late-fusion", help="No bottleneck fusion (Table 2c).")] = False,
    seed: Annotated[int | None, typer.Option(help="The first seed; default: the config's.", min=0)] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, one after the other.", min=1)] = 1,
    fold: Annotated[int, typer.Option(help="Fold of the movies that validates.")] = 0,
    folds: Annotated[int, typer.Option(help="Number of folds by movie name.", min=2)] = 5,
    all_movies: Annotated[
        bool, typer.Option("--all-movies", help="Validate on every fold in turn, then train on all movies.")
    ] = False,
    encoder: Annotated[Path | None, typer.Option(help="Folder of all-MiniLM-L6-v2; default: its wheel.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train MEGA to find turning points, from labelled synopsis sentences and without a label on any movie.

    A synopsis model learns the labels, scenes and sentences are synchronised by EM, and what the labels say of
    sentences is distilled into a model of scenes alone. Leaves OUTPUT/seed-K/ with act.safetensors, the synchronised
    pair before that, synchronised.safetensors and synopsis.safetensors, and log.jsonl; interrupted, it goes on where
    it was when run again.
    """
    settings = _settings(config, variant, align_in_shots, align_in_bottlenecks, late_fusion)
    movies, recipe, left_out = _load(folder, synopses, silver, encoder)
    if left_out:
        console.print(f"left out, without a synopsis or enough scenes: {', '.join(left_out)}", highlight=False)
    split = [fold] if not all_movies else list(range(folds))
    notes: dict[str, Any] = {
        "command": f"megaseg train act FEATURES --synopses SYNOPSES -o {output.name} --folds {folds} "
        + ("--all-movies" if all_movies else f"--fold {fold}"),
        "split": f"by movie, SHA-256 of the name modulo {folds}",
        "data": {"recipe": recipe, "movies": [movie.name for movie in movies]},
        "validation_gold": "CSV" if gold else "arg-max of the silver distributions" if silver else "none",
    }
    if settings.variant == "mega*" and silver is None:
        raise FeatureError("mega*: expected a teacher's distributions to learn from, got no --silver")
    runs = _Runs(settings, movies, _marks(gold, movies), recipe, notes, folds)
    for number in split:
        runs.held_out(number)
    _write_run(output, settings, notes)
    if threads:
        _set_threads(threads)
    results = {}
    first = settings.seed if seed is None else seed
    for number in range(first, first + seeds):
        results[number] = runs.all_movies(output, number) if all_movies else runs.fold(output, number, split[0])
        console.print(f"seed {number}: {_line(results[number])}", highlight=False)
    if json:
        print_json({"run": str(output), "seeds": results})


def _settings(config: Path | None, variant: str | None, shots: bool, bottlenecks: bool, late: bool) -> ActConfig:
    try:
        from megaseg.training.act.config import ActConfig
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    settings = ActConfig.read(SETTINGS if config is None else config)
    changes: dict[str, Any] = {} if variant is None else {"variant": variant}
    if not shots:
        changes["align_in_shots"] = False
    if not bottlenecks:
        changes["align_in_bottlenecks"] = False
    if late:
        changes["late_fusion"] = True
    return dataclasses.replace(settings, **changes)


def _load(
    folder: Path, synopses: Path, silver: Path | None, encoder: Path | None
) -> tuple[list[ActMovie], str | None, list[str]]:
    try:
        from megaseg.features.text.encoder import SentenceEncoder
        from megaseg.training.act.data import load_movies, read_silver
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train,text]'") from error
    texts = read_synopses(synopses)
    teacher = None if silver is None else read_silver(silver)
    encode = SentenceEncoder(encoder).encode
    with progress("Sentences", len(texts)) as bar:
        vectors = {}
        for name, synopsis in texts.items():
            vectors[name] = encode(list(synopsis.sentences))
            bar.advance(bar.task_ids[0])
    return load_movies(folder, texts, vectors, teacher)


def _write_run(output: Path, settings: ActConfig, notes: dict[str, Any]) -> None:
    """Write run.json; a folder holds the seeds of one run."""
    output.mkdir(parents=True, exist_ok=True)
    said = {"name": output.name, "modality": "T", "synchronised_by": "T*" if settings.variant == "mega*" else "T"}
    config = {**dataclasses.asdict(settings), "seed": 0}
    run = jsonlib.loads(jsonlib.dumps({**said, "config": config, **notes}))
    path = output / "run.json"
    if path.is_file():
        kept = jsonlib.loads(path.read_text(encoding="utf-8"))
        unlike = [key for key in ("config", "split", "data", "validation_gold") if kept.get(key) != run[key]]
        if unlike:
            raise FeatureError(
                f"{path}: expected a new folder or a run of the same {', '.join(unlike)}; choose another --output"
            )
    with atomic_write(path) as temporary:
        temporary.write_text(jsonlib.dumps(run, indent=1), encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class _Runs:
    """One call of the command; ``gold`` holds the scenes of the movies that validation can be scored on."""

    settings: ActConfig
    movies: list[ActMovie]
    gold: dict[str, list[list[int]]]
    recipe: str | None
    notes: dict[str, Any]
    folds: int

    def fold(self, output: Path, seed: int, fold: int, name: str = "seed-{}") -> dict[str, Any]:
        """Train on all folds but one, which validates."""
        inside = self.held_out(fold)
        return self._train(output / name.format(seed), seed, inside, {"fold": fold, "held_out": inside}, self.settings)

    def held_out(self, fold: int) -> list[str]:
        """Names of the fold's movies.

        Raises:
            FeatureError: no such fold, or one of no movies or of all.
        """
        inside = select_fold([movie.name for movie in self.movies], fold, self.folds, inside=True)
        if not 0 < len(inside) < len(self.movies):
            raise FeatureError(
                f"fold {fold} of {self.folds}: expected movies on both sides, got {len(self.movies)} movies in all"
            )
        return inside

    def all_movies(self, output: Path, seed: int) -> dict[str, Any]:
        """Every fold validates once; then one run on all movies for the folds' mean number of epochs.

        The result is the folds' together. A fold or run that is done is not done again.
        """
        from megaseg.training.act.run import pooled

        folder = output / f"seed-{seed}"
        parts = [self.fold(folder, seed, fold, f"fold-{fold}") for fold in range(self.folds)]
        epochs = round(sum(part["epochs"] for part in parts) / len(parts))
        settings = dataclasses.replace(self.settings, epochs=epochs)
        final = self._train(folder, seed, [], {"folds": parts}, settings)
        result = {"event": "cross-validated", **pooled(parts), "epochs": epochs}
        result["seconds"] = round(sum(part["seconds"] for part in (*parts, final)), 1)
        log = folder / "log.jsonl"
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if "cross-validated" not in line]
        with atomic_write(log) as temporary:
            temporary.write_text("\n".join([*lines, jsonlib.dumps(result)]) + "\n", encoding="utf-8")
        return result

    def _train(
        self, folder: Path, seed: int, inside: list[str], notes: dict[str, Any], settings: ActConfig
    ) -> dict[str, Any]:
        from megaseg.training.act.run import ActRun, Task, finished

        settings = dataclasses.replace(settings, seed=seed)
        held_out = [movie for movie in self.movies if movie.name in inside]
        train = [movie for movie in self.movies if movie.name not in inside]
        gold = {movie.name: self.gold[movie.name] for movie in held_out if movie.name in self.gold}
        task = Task(train, held_out, gold, self.recipe, {**self.notes, **notes})
        done = finished(folder, settings, task)
        if done is not None:
            return done
        with progress(folder.name, None) as bar:
            return ActRun(
                settings, task, folder, lambda phase: bar.update(bar.task_ids[0], advance=1, description=phase)
            ).run()


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _marks(gold: Path | None, movies: list[ActMovie]) -> dict[str, list[list[int]]]:
    """Scenes of turning points by movie: of the file, else the arg-max of the teacher's distributions, else none."""
    from megaseg.training.act.run import silver_gold

    if gold is None:
        return silver_gold(movies)
    known = {file_name(name).removesuffix(".npz"): points for name, points in read_gold(gold).items()}
    found = {movie.name: known[movie.name] for movie in movies if movie.name in known}
    if not found:
        raise FeatureError(f"{gold}: expected gold scenes of the movies in FEATURES, found none")
    return found


def _line(result: dict[str, Any]) -> str:
    if "validation" not in result:
        return f"{result['seconds']} s"
    parts = [
        f"{name} TA {row['ta']:.1f} PA {row['pa']:.1f} D {row['d']:.1f}"
        for name, row in result.items()
        if name in ("validation", "theory", "prior")
    ]
    return f"{'; '.join(parts)}; {result['seconds']} s"
