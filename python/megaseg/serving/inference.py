"""Inference requests of either protocol: checked, given to the model's scheduler, and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.protocol import EMBEDDING
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.tokens import SUFFIX
from megaseg.engine.results.segmentation import Segmentation, joined
from megaseg.engine.tasks.together import check_together, options_for_each
from megaseg.errors import FeatureError, ResourceLimitError, UnsupportedError
from megaseg.features.extractor import Extractor
from megaseg.features.screenplay.screenplay import Screenplay
from megaseg.features.video.similarity import prepared
from megaseg.media.video import Video
from megaseg.pipelines.pipeline import Passage
from megaseg.serving.datatypes import DTYPES
from megaseg.serving.errors import ModelNotReady, RequestError
from megaseg.serving.extraction import Deadline, Extraction
from megaseg.serving.models import Model, Models, Tensor
from megaseg.serving.offload import submitted
from megaseg.serving.parameters import Parameters
from megaseg.serving.searching import Asked, Searching
from megaseg.serving.sequences import Sequences
from megaseg.serving.settings import Limits

if TYPE_CHECKING:
    from megaseg.engine.live.stream import Event
    from megaseg.serving.metrics import Metrics

ENDING = "the service is shutting down"


@dataclass(frozen=True)
class Request:
    """One inference request. ``outputs`` are the names wanted, None for all; ``protocol`` is for metrics and logs."""

    model: str
    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...] | None = None
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    id: str = ""
    version: str = ""
    protocol: str = "grpc"


@dataclass(frozen=True)
class Response:
    """The answer to a ``Request``; ``parameters`` has the ``sequence_id`` of a push."""

    model: str
    id: str
    outputs: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)


class Inference:
    """The service behind both protocols; its methods run on one event loop, which they never block."""

    def __init__(
        self,
        models: Models,
        *,
        limits: Limits,
        metrics: Metrics,
        extractors: Iterable[Extractor] = (),
        search: Searching | None = None,
    ) -> None:
        """``extractors`` are those of ``Pipeline``; without ``search`` there is no index."""
        self.models, self.limits, self.metrics = models, limits, metrics
        self._sequences = Sequences(limits)
        self._extraction, self._search = Extraction(extractors), search
        self.ending = asyncio.Event()  # set when the service begins to shut down
        self._running = 0
        self._done = asyncio.Event()  # set when nothing runs and nothing more may
        metrics.watch(models, lambda: len(self._sequences))

    async def infer(self, request: Request) -> Response:
        """Answer one request, or one push to a sequence; cancelling the task cancels it in the scheduler.

        Raises:
            ModelNotFound, ModelNotReady: of the model, or the service is shutting down.
            RequestError, FeatureError: inputs, outputs or parameters that the model does not take.
            ResourceLimitError: more shots than the limit. OverloadedError: a full queue, or too many sequences.
            SequenceError: a push to a sequence that is not open. DeadlineExceeded: its ``timeout`` passed.
        """
        known = request.model if request.model in self.models.names() else ""
        observed = self.metrics.request(request.protocol, known, id=request.id)
        with observed as seen, self._accepted((request.model, request.version)) as (model,):
            parameters = Parameters.parse(request.parameters)
            seen["shots"] = shots = self._check(model, request, parameters)
            base = {"time_base": parameters.time_base} if "times" in request.inputs else {}
            arrays = {**request.inputs, **base}
            if model.embeds and parameters.sequence_id is None:
                return _answer(request, await _embedded(model, arrays, request.outputs, parameters))
            if parameters.sequence_id is None:
                result = await _segmented(model, arrays, parameters.timeout, parameters.decision)
                return _answer(request, _result_outputs(model, result))
            seen["sequence"] = parameters.sequence_id
            events = await self._sequences.push(model, parameters.sequence_id, parameters, arrays if shots else None)
            return _answer(request, _event_outputs(events), sequence_id=parameters.sequence_id)

    async def segment(
        self,
        names: Sequence[str],
        source: Features | Screenplay | Video,
        *,
        timeout: float | None = None,
        **decision: Any,
    ) -> Segmentation:
        """The result of models, one for each task, over one movie's shots; errors as of ``infer``.

        A screenplay or a film goes through its extractor first, and then from model to model.

        Raises:
            UnsupportedError: an extra that the extractor needs and that is missing.
        """
        with self._accepted(*((name, "") for name in names)) as models:
            configs = [model.engine.config for model in models]
            check_together(configs, names)
            options = options_for_each([model.task.name for model in models], decision)
            film = isinstance(source, Video)
            if not isinstance(source, Video):
                self._expect_shots(source.num_shots)
            if isinstance(source, Features):
                rows = [await asyncio.to_thread(prepared, source, config.recipe) for config in configs]
                parts = zip(models, rows, options, strict=True)
                return joined(await _all([_segmented(model, own, timeout, given) for model, own, given in parts]))
            passage = Passage(configs, source, self._extraction.extractors)
            deadline = Deadline(timeout)
            for place in passage.order:
                with _below_root(source):
                    features = await self._extraction.run(passage.features, place, timeout=deadline.left(), film=film)
                self._expect_shots(features.num_shots)
                result = await _segmented(models[place], features, deadline.left(), options[place])
                passage.add(place, result)
            return passage.result()

    async def similar(self, asked: Asked, scenes: str | None = None) -> dict[str, Any]:
        """Scenes of the index like what is asked for; ``scenes`` names a model that divides a movie into scenes.

        Raises:
            UnsupportedError: no index. RequestError: a model that finds no scenes. Otherwise as ``infer`` and
                ``Searching.find``.
        """
        with self._accepted(*([] if scenes is None else [(scenes, "")])) as models:
            search = self.expect_index()
            for model in models:
                if model.task.name != "scene":
                    raise RequestError(f"model: expected one that finds scenes, got {scenes!r:.80}")
                asked = replace(asked, scenes=model.engine)
            if isinstance(asked.source, (Features, Screenplay)):
                self._expect_shots(asked.source.num_shots)
            with _below_root(asked.source):
                return await search.find(asked, self.models, self._extraction)

    def expect_index(self) -> Searching:
        """The index of the service.

        Raises:
            UnsupportedError: there is none.
        """
        if self._search is None:
            raise UnsupportedError("similar: expected a service with an index, this one has none")
        return self._search

    async def load(self, name: str) -> None:
        """``Models.load`` off the event loop; sequences of the model before it end.

        Raises:
            ModelNotReady: the service is shutting down. Otherwise as ``Models.load``.
        """
        with self._accepted():
            await asyncio.to_thread(self.models.load, name)
        self._sequences.drop_others(self.models.loaded())

    async def unload(self, name: str) -> None:
        """``Models.unload`` off the event loop: accepted pushes are answered, then the model's sequences end.

        Raises:
            ModelNotFound: an unknown name.
        """
        await asyncio.to_thread(self.models.unload, name)
        self._sequences.drop_others(self.models.loaded())

    def statistics(self, name: str = "", version: str = "") -> list[Mapping[str, Any]]:
        """What a model, or without a name each one, has done since the service began.

        Raises:
            ModelNotFound: an unknown name or version.
        """
        if name:
            self.models.expect(name, version)
        return [self.metrics.statistics.of(each) for each in ([name] if name else self.models.names())]

    def ready(self) -> bool:
        """Whether the service takes requests: it does until it begins to shut down."""
        return not self.ending.is_set()

    def expect_ready(self) -> None:
        """Raises ModelNotReady once the service is shutting down."""
        if self.ending.is_set():
            raise ModelNotReady(ENDING)

    def expect_room(self, *names: str) -> None:
        """Refuse segmenting by models before the movie is read.

        Raises:
            ModelNotFound, ModelNotReady: of a model, or the service is shutting down. OverloadedError: a full queue.
            UnsupportedError: a model that embeds.
        """
        with self._accepted(*((name, "") for name in names)) as models:
            for model in models:
                if model.embeds:
                    raise UnsupportedError(
                        f"segment: expected a model that decides, got {model.name!r}, which embeds shots; "
                        f"/v2/models/{model.name}/infer gives its output {EMBEDDING}"
                    )
            for model in models:
                model.scheduler.require_room()

    def drain(self) -> None:
        """Refuse new work from now on; what is accepted is still answered."""
        self.ending.set()
        if not self._running:
            self._done.set()

    async def close(self) -> None:
        """Finish accepted work and unload every model."""
        self.drain()
        await self._done.wait()
        self._extraction.close()
        await asyncio.to_thread(self.models.close)
        self._sequences.drop_others(())

    @contextmanager
    def _accepted(self, *models: tuple[str, str]) -> Iterator[list[Model]]:
        """Work on models, by name and version, that shutting down waits for.

        Raises:
            ModelNotFound, ModelNotReady: of a model, or the service is shutting down.
        """
        self.expect_ready()
        found = [self.models.get(name, version) for name, version in models]
        self._running += 1
        try:
            yield found
        except UnsupportedError as error:  # raised by a closed scheduler
            if any(model.scheduler.closed for model in found):
                why = "it was unloaded or loaded anew just now, or failed: the log says why"
                raise ModelNotReady(f"model: its scheduler is closed, {why}; try again or load it") from error
            raise
        finally:
            self._running -= 1
            if self.ending.is_set() and not self._running:
                self._done.set()

    def _expect_shots(self, shots: int) -> None:
        if shots > self.limits.max_shots:
            raise ResourceLimitError(f"shots: expected up to {self.limits.max_shots} a request, got {shots}")

    def _check(self, model: Model, request: Request, parameters: Parameters) -> int:
        """Number of shots of a request that fits the model's tensors; an end of a sequence may bring none."""
        names = [tensor.name for tensor in model.outputs]
        for name in request.outputs or ():
            if name not in names:
                raise RequestError(f"outputs: expected some of {', '.join(names)}, got {name!r:.80}")
        if not request.inputs and parameters.sequence_end:
            return 0
        tensors = {tensor.name: tensor for tensor in model.inputs}
        wanted = {name for name, tensor in tensors.items() if not tensor.optional}
        if not wanted <= set(request.inputs) <= set(tensors) or not request.inputs:
            raise RequestError(
                f"inputs: expected {', '.join(tensors)}, got {', '.join(request.inputs) or 'none'!s:.200}"
            )
        for name, array in request.inputs.items():
            _check_tensor(tensors[name], array)
        shots = _shots(model, request.inputs)
        self._expect_shots(shots)
        for name, array in request.inputs.items():
            if len(array) > max(shots, self.limits.max_shots):
                raise ResourceLimitError(f"{name}: expected up to {self.limits.max_shots} a request, got {len(array)}")
        return shots


def _check_tensor(tensor: Tensor, array: NDArray[Any]) -> None:
    """Raises RequestError for an array that is not of a tensor's type and shape."""
    sizes = tensor.shape[1:]
    if array.dtype != DTYPES[tensor.datatype] or array.ndim != len(tensor.shape) or array.shape[1:] != sizes:
        shape = ", ".join(["tokens" if tensor.name.endswith(SUFFIX) else "shots", *map(str, sizes)])
        raise RequestError(
            f"{tensor.name}: expected {tensor.datatype} [{shape}], got {array.dtype} {list(array.shape)}"
        )


def _shots(model: Model, inputs: Mapping[str, NDArray[Any]]) -> int:
    """Shots of a request: rows of an input that has one a shot."""
    tokens = {name.removesuffix(SUFFIX) for name in inputs if name.endswith(SUFFIX)}
    return next((len(inputs[m.name]) for m in model.engine.config.modalities if m.name in {*inputs} - tokens), 0)


@contextmanager
def _below_root(source: Any) -> Iterator[None]:
    """Errors about a film or what is beside it, without the folder, which is no client's business."""
    try:
        yield
    except FeatureError as error:
        if not isinstance(source, Video):
            raise
        raise type(error)(str(error).replace(f"{source.path.parent}/", "")) from error


async def _segmented(
    model: Model, features: Features | Mapping[str, Any], timeout: float | None, decision: Mapping[str, Any]
) -> Segmentation:
    model.scheduler.require_room()  # before the features are looked at
    return await asyncio.wrap_future(await submitted(model.scheduler.submit, features, timeout=timeout, **decision))


async def _embedded(
    model: Model, arrays: Mapping[str, Any], names: tuple[str, ...] | None, parameters: Parameters
) -> dict[str, NDArray[Any]]:
    """The outputs of a model that embeds: those named, else its embedding."""
    if parameters.decision:
        given = next(iter(parameters.decision))
        raise RequestError(f"{given}: expected no decision parameter, model {model.name!r} embeds and decides nothing")
    model.scheduler.require_room()
    wanted = (EMBEDDING,) if names is None else tuple(dict.fromkeys(names))
    submit = partial(model.scheduler.submit_outputs, names=wanted)
    return await asyncio.wrap_future(await submitted(submit, arrays, timeout=parameters.timeout))


async def _all(work: Sequence[Coroutine[Any, Any, Segmentation]]) -> list[Segmentation]:
    """Results of work done at the same time; where one part fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _result_outputs(model: Model, result: Segmentation) -> dict[str, NDArray[Any]]:
    (track,) = result.tracks.values()
    outputs = model.deciding.tensors(track)
    if model.task.streams:
        shots = np.arange(result.num_shots, dtype=np.int64)
        outputs |= {"shot": shots, "final": np.ones(result.num_shots, np.bool_)}
    return outputs


def _event_outputs(events: Sequence[Event]) -> dict[str, NDArray[Any]]:
    return {
        "scores": np.array([event.score for event in events], np.float32),
        "boundaries": np.array([event.boundary for event in events], np.bool_),
        "shot": np.array([event.shot for event in events], np.int64),
        "final": np.array([event.final for event in events], np.bool_),
    }


def _answer(request: Request, outputs: Mapping[str, NDArray[Any]], **parameters: Any) -> Response:
    wanted = outputs if request.outputs is None else request.outputs
    return Response(request.model, request.id, {name: outputs[name] for name in wanted}, parameters)
