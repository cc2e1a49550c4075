"""The models of a service: known by name from its start, loaded and unloaded while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from megaseg.engine.backends.protocol import EMBEDDING
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.tokens import SUFFIX
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.engine.tasks.task import DecidingTask, deciding_task, task_of
from megaseg.serving.errors import ModelNotFound, ModelNotReady

if TYPE_CHECKING:
    from megaseg.engine.live.scheduler import Scheduler

VERSION = "1"  # the only version of every model
PLATFORM = "megaseg"
_DATATYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}  # the protocol's, by NumPy's names


class Tensor(NamedTuple):
    """An input or output: its name, type (``FP32``, ``INT32``, ``INT64``, ``BOOL``) and shape, where -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


class Model:
    """A loaded model: its engine, the scheduler that batches its callers, its task and its tensors.

    ``embeds`` says that it gives outputs of the model, of which ``embedding`` comes where none is asked for; another
    model gives its task's decisions.

    Raises:
        UnsupportedError: a model that neither decides nor embeds.
    """

    def __init__(self, name: str, engine: Engine, scheduler: Scheduler) -> None:
        config = engine.config
        self.name, self.engine, self.scheduler = name, engine, scheduler
        self.task = task_of(config.task)
        self.embeds = self.task.name == EMBEDDING
        self.inputs: tuple[Tensor, ...] = tuple(_inputs(config))
        if self.embeds:
            self.outputs: tuple[Tensor, ...] = tuple(_outputs(config))
            return
        self.inputs += (Tensor("times", "INT64", (-1, 2), optional=True),)
        specs = deciding_task(config.task, f"model {name!r}").tensor_specs(config)
        self.outputs = tuple(Tensor(spec.name, _DATATYPES[spec.type], spec.shape) for spec in specs)
        if self.task.streams:  # a request has a row for each of its shots, a push to a sequence one for each event
            self.outputs += (Tensor("shot", "INT64", (-1,)), Tensor("final", "BOOL", (-1,)))

    @property
    def deciding(self) -> DecidingTask:
        """The task of a model that does not embed."""
        return deciding_task(self.task.name, f"model {self.name!r}")

    def configuration(self) -> dict[str, Any]:
        """The model's ``ModelConfig``, in the names of the protocol; shots are no batch dimension."""
        inputs, outputs = ([_configured(tensor) for tensor in tensors] for tensors in (self.inputs, self.outputs))
        same = {"platform": PLATFORM, "backend": PLATFORM, "max_batch_size": 0}
        return {"name": self.name, **same, "input": inputs, "output": outputs}


def _inputs(config: ModelConfig) -> Iterator[Tensor]:
    """Features of shots, and the shots of tokens where a modality may have them."""
    for modality in config.modalities:
        shape = (-1, modality.feature_size)
        yield Tensor(modality.name, _DATATYPES[modality.type], shape, optional=config.absent_as_zeros)
    if config.token_modality is not None:
        yield Tensor(config.token_modality + SUFFIX, "INT32", (-1,), optional=True)


def _outputs(config: ModelConfig) -> Iterator[Tensor]:
    graph = structure_of(config)
    for output in graph.outputs:
        yield Tensor(output.name, "FP32", (-1 if graph.rows(output, 2) == 2 else 1, output.node.width))


def _configured(tensor: Tensor) -> dict[str, Any]:
    described = {"name": tensor.name, "data_type": f"TYPE_{tensor.datatype}", "dims": list(tensor.shape)}
    return {**described, "optional": True} if tensor.optional else described


class Entry(NamedTuple):
    """A line of the repository's index; ``state`` is ``READY``, ``LOADING``, ``UNLOADING`` or ``UNAVAILABLE``."""

    name: str
    version: str
    state: str
    reason: str


class Models:
    """Known checkpoints by name. Only these can be loaded: a client never names a path. Safe between threads.

    Args:
        sources: checkpoint (name or path) of each model name.
        open: makes an engine from a checkpoint.
        scheduler: makes a model's scheduler from its name and engine.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        *,
        open: Callable[[str], Engine],
        scheduler: Callable[[str, Engine], Scheduler],
    ) -> None:
        self._sources = dict(sources)
        self._open, self._scheduler = open, scheduler
        self._loaded: dict[str, Model] = {}
        self._states = dict.fromkeys(sources, ("UNAVAILABLE", "unloaded"))
        self._changes = {name: threading.Lock() for name in sources}  # one load or unload of a model at a time

    def names(self) -> tuple[str, ...]:
        """Every known name, loaded or not."""
        return tuple(self._sources)

    def ready(self, name: str, version: str = "") -> bool:
        """Whether a model takes requests.

        Raises:
            ModelNotFound: an unknown name or version.
        """
        self.expect(name, version)
        model = self._loaded.get(name)
        return model is not None and not model.scheduler.closed

    def get(self, name: str, version: str = "") -> Model:
        """A loaded model; no version means the only one, ``1``.

        Raises:
            ModelNotFound: an unknown name or version.
            ModelNotReady: it is not loaded.
        """
        self.expect(name, version)
        model = self._loaded.get(name)
        if model is None:
            raise ModelNotReady(f"model {name!r}: expected a loaded model, got one that is not ({self._why(name)})")
        return model

    def load(self, name: str) -> Model:
        """Load a model. A loaded one is read anew, serves until the new one is ready, and finishes its accepted work.

        Blocks while the model loads; on the event loop use ``Inference.load``.

        Raises:
            ModelNotFound: an unknown name.
            CheckpointError, UnsupportedError, ResourceLimitError: as ``Engine.from_checkpoint``.
        """
        self.expect(name, "")
        with self._changes[name]:
            before = self._states[name]
            self._states[name] = ("LOADING", "")
            try:
                engine = self._open(self._sources[name])
                model = Model(name, engine, self._scheduler(name, engine))
            except BaseException as error:
                self._states[name] = before if name in self._loaded else ("UNAVAILABLE", str(error))
                raise
            old, self._loaded[name] = self._loaded.get(name), model
            self._states[name] = ("READY", "")
            if old is not None:
                old.scheduler.close()
            return model

    def unload(self, name: str) -> None:
        """Stop taking a model's requests, finish those accepted, and release the model. No-op if it is not loaded.

        Blocks until the accepted work is done; on the event loop use ``Inference.unload``.

        Raises:
            ModelNotFound: an unknown name.
        """
        self.expect(name, "")
        with self._changes[name]:
            model = self._loaded.pop(name, None)
            if model is not None:
                self._states[name] = ("UNLOADING", "")
                model.scheduler.close()
                self._states[name] = ("UNAVAILABLE", "unloaded")

    def loaded(self) -> tuple[Model, ...]:
        """The models that take requests."""
        return tuple(self._loaded.copy().values())

    def index(self, *, ready_only: bool = False) -> tuple[Entry, ...]:
        """State of every known model."""
        entries = (Entry(name, VERSION, *self._states[name]) for name in self._sources)
        return tuple(entry for entry in entries if not ready_only or entry.name in self._loaded)

    def close(self) -> None:
        """Unload every model; accepted work is finished."""
        for name in self._sources:
            self.unload(name)

    def expect(self, name: str, version: str = "") -> None:
        """Check a name and a version.

        Raises:
            ModelNotFound: an unknown one.
        """
        if name not in self._sources:
            raise ModelNotFound(f"model: expected one of {', '.join(self._sources)}, got {name!r:.80}")
        if version not in ("", VERSION):
            raise ModelNotFound(f"version of model {name!r}: expected {VERSION!r}, got {version!r:.40}")

    def _why(self, name: str) -> str:
        state, reason = self._states[name]
        return reason or state.lower()
