"""A model of the inference server's python backend: features in, a track's tensors out; ``model.py`` where exported.

It runs inside the server, which has the module ``triton_python_backend_utils``; megaseg must be installed there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found, unused-ignore]

from megaseg import Engine, MegasegError, Segmentation
from megaseg.engine.tasks.task import deciding_task
from megaseg.errors import FeatureError

Result = list[Segmentation] | MegasegError  # of a request: a segmentation for each of its movies
DECISION = ("threshold", "min_scene_length", "num_scenes", "ordered")  # parameters that a request may have


class TritonPythonModel:
    """Segments what the server hands over in one call; a request that fails, fails alone."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model file beside this one, as the ``parameters`` of config.pbtxt say."""
        config = json.loads(args["model_config"])
        options = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        folder = Path(args["model_repository"]) / args["model_version"]
        (model,) = (path for path in folder.glob("model.*") if path.suffix != ".py")
        chosen: dict[str, Any] = {name: options[name] for name in ("device", "compute_type", "overflow")}
        self.engine = Engine.from_checkpoint(model, num_threads=int(options["num_threads"]), **chosen)
        self.names = [modality.name for modality in self.engine.config.modalities]
        self.batched = config["max_batch_size"] > 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response a request, in their order."""
        results: list[Result | None] = [None] * len(requests)
        calls: dict[str, list[tuple[int, list[dict[str, Any]]]]] = {}  # requests and their movies by decision
        for place, request in enumerate(requests):
            try:
                calls.setdefault(self._decision(request), []).append((place, self._movies(request)))
            except MegasegError as error:
                results[place] = error
        for decision, group in calls.items():
            for place, result in self._segmented(group, json.loads(decision)):
                results[place] = result
        return [self._response(result) for result in results]

    def _decision(self, request: Any) -> str:
        given = json.loads(request.parameters() or "{}")
        if unknown := ", ".join(sorted(set(given) - set(DECISION))):
            raise FeatureError(f"parameters: expected some of {', '.join(DECISION)}, got {unknown}")
        return json.dumps(given, sort_keys=True)

    def _movies(self, request: Any) -> list[dict[str, Any]]:
        arrays = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.names}
        if not self.batched:
            return [arrays]
        if not all(map(len, arrays.values())):
            raise FeatureError("inputs: expected at least one movie, got none")
        return [dict(zip(self.names, movie, strict=True)) for movie in zip(*arrays.values(), strict=True)]

    def _segmented(
        self, group: list[tuple[int, list[dict[str, Any]]]], decision: dict[str, Any]
    ) -> list[tuple[int, Result]]:
        """All movies of a group at once; if that fails, each request by itself."""
        try:
            rest = iter(self.engine.segment_many([movie for _, movies in group for movie in movies], **decision))
            return [(place, [next(rest) for _ in movies]) for place, movies in group]
        except MegasegError as error:
            if len(group) == 1:
                return [(group[0][0], error)]
            return [result for one in group for result in self._segmented([one], decision)]

    def _response(self, result: Result | None) -> Any:
        if not isinstance(result, list):
            kind = (
                pb_utils.TritonError.INVALID_ARG if isinstance(result, FeatureError) else pb_utils.TritonError.INTERNAL
            )
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(result), kind))
        columns = [_outputs(movie) for movie in result]
        outputs = {name: np.stack([column[name] for column in columns]) for name in columns[0]}
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, array if self.batched else array[0]) for name, array in outputs.items()]
        )


def _outputs(result: Segmentation) -> dict[str, Any]:
    """The tensors of config.pbtxt, as the model's task has them."""
    (track,) = result.tracks.values()
    return deciding_task(track.task, "model").tensors(track)
