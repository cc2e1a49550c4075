"""Models that embed in the service, over HTTP and gRPC: their tensors, tokens of a length of their own, refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from serving.conftest import running
from shot_encoders import SCENE, film, long_range, movie_encoder, parts, scene_encoder
from support import random_checkpoint

from megaseg import Engine, save_checkpoint
from megaseg.serving.settings import Limits, Settings

grpc = pytest.importorskip("tritonclient.grpc")
http = pytest.importorskip("tritonclient.http")
from tritonclient.utils import InferenceServerException, np_to_triton_dtype  # noqa: E402

MODELS = {
    "encoder": long_range(),
    "scenes": long_range(**SCENE),
    "of-scenes": scene_encoder(),
    "of-movies": movie_encoder(),
}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Engine]:
    return {name: Engine.from_checkpoint(random_checkpoint(config)) for name, config in MODELS.items()}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("models")
    for name, config in MODELS.items():
        save_checkpoint(folder / f"{name}.safetensors", random_checkpoint(config))
    checkpoints = {name: str(folder / f"{name}.safetensors") for name in MODELS}
    limits = Limits(max_shots=400)
    with running(Settings(checkpoints, http_port=0, grpc_port=0, num_threads=1, limits=limits)) as one:
        yield one


@pytest.fixture(params=["http", "grpc"])
def call(request: pytest.FixtureRequest, service: Any) -> Iterator[Callable[..., Any]]:
    """``infer`` of a client of either protocol."""
    module: ModuleType = {"http": http, "grpc": grpc}[request.param]
    address = service.url if request.param == "http" else f"127.0.0.1:{service.grpc_port}"
    with module.InferenceServerClient(address) as client:

        def infer(model: str, arrays: dict[str, np.ndarray], *names: str, **options: Any) -> Any:
            tensors = []
            for name, array in arrays.items():
                tensor = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
                tensor.set_data_from_numpy(array)
                tensors.append(tensor)
            wanted = [module.InferRequestedOutput(name) for name in names] or None
            return client.infer(model, tensors, outputs=wanted, **options)

        infer.client = client  # type: ignore[attr-defined]
        yield infer


def refused(match: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    with pytest.raises(InferenceServerException, match=match):
        call(*arguments, **options)


def test_an_embedding_is_the_engine_s(call: Any, engines: dict[str, Engine]) -> None:
    engine = engines["encoder"]
    for shots, tokens in ((30, 50), (7, 0), (1, 3)):
        movie = film(engine.config, shots, tokens=tokens)
        found = call("encoder", movie)
        assert np.array_equal(found.as_numpy("embedding"), engine.embed(movie))
        assert found.as_numpy("context.video") is None
        names = ("context.video", "cross.language", "embedding")
        found, whole = call("encoder", movie, *names), engine.outputs(movie, names)
        assert all(np.array_equal(found.as_numpy(name), whole[name]) for name in names)
    rows = {name: array for name, array in movie.items() if name in ("video",)}
    assert np.array_equal(call("encoder", rows).as_numpy("embedding"), engine.embed(rows)), "others are zeros"


@pytest.mark.parametrize("model", ["of-scenes", "of-movies"])
def test_encoders_of_scenes_and_movies(call: Any, engines: dict[str, Engine], model: str) -> None:
    engine = engines[model]
    for shots in (30, 7, 1):
        movie = film(engine.config, shots)
        names = tuple(engine.outputs(movie))
        found = call(model, movie, *names)
        assert all(np.array_equal(found.as_numpy(name), rows) for name, rows in engine.outputs(movie).items())
    alone = {"video": movie["video"]}
    assert np.array_equal(call(model, alone).as_numpy("embedding"), engine.embed(alone))


def test_metadata_has_every_output(call: Any) -> None:
    metadata = call.client.get_model_metadata("encoder")
    if not isinstance(metadata, dict):
        told = [[(t.name, t.datatype, list(t.shape)) for t in ts] for ts in (metadata.inputs, metadata.outputs)]
    else:
        told = [[(t["name"], t["datatype"], t["shape"]) for t in metadata[key]] for key in ("inputs", "outputs")]
    inputs, outputs = told
    assert inputs == [
        *(("video", "FP32", [-1, 7]), ("audio", "FP32", [-1, 5]), ("language", "FP32", [-1, 6])),
        ("language.shots", "INT32", [-1]),
    ]
    assert outputs == [
        *((f"context.{role}", "FP32", [-1, 24]) for role in ("video", "audio", "language")),
        *((f"cross.{role}", "FP32", [-1, 24]) for role in ("audio", "language")),
        ("embedding", "FP32", [-1, 72]),
    ]
    config = call.client.get_model_config("encoder")
    tensors = config["input"] if isinstance(config, dict) else config.config.input
    kinds = [t["data_type"] if isinstance(t, dict) else t.data_type for t in tensors]
    assert kinds in (["TYPE_FP32"] * 3 + ["TYPE_INT32"], [11, 11, 11, 8])


def test_what_does_not_fit_is_refused(call: Any) -> None:
    movie = film(MODELS["encoder"], 9)
    refused("inputs: expected video, audio, language, language.shots, got none", call, "encoder", {})
    refused(
        "inputs: expected video, .*, got video, colour",
        call,
        "encoder",
        {"video": movie["video"], "colour": movie["audio"]},
    )
    refused(r"video: expected FP32 \[shots, 7\], got float32 \[9, 5\]", call, "encoder", {"video": movie["audio"]})
    ids = movie["language.shots"].astype(np.int64)
    refused(r"language.shots: expected INT32 \[tokens\], got int64", call, "encoder", {**movie, "language.shots": ids})
    late = movie["language.shots"] + np.int32(5)
    refused("language.shots: expected shots from 0 to 8", call, "encoder", {**movie, "language.shots": late})
    refused("expected up to 400 a request, got 401", call, "encoder", film(MODELS["encoder"], 9, tokens=401))
    refused("threshold: expected no decision parameter", call, "encoder", movie, parameters={"threshold": 0.4})
    refused("outputs: expected some of context.video", call, "encoder", movie, "scores")
    refused("sequence_id: expected a scene model", call, "encoder", movie, sequence_id=3, sequence_start=True)


def test_segment_says_what_to_do_instead(service: Any) -> None:
    answer = service.http.post("/v1/segment?model=encoder", content=b"FADE IN:", headers={"content-type": "text/plain"})
    assert answer.status_code == 501
    assert "/v2/models/encoder/infer gives its output embedding" in answer.json()["error"]


def test_values_beyond_int32_are_refused(service: Any) -> None:
    tensor = {"name": "language.shots", "datatype": "INT32", "shape": [1], "data": [2**40]}
    answer = service.http.post("/v2/models/encoder/infer", json={"inputs": [tensor]})
    assert answer.status_code == 400
    assert "language.shots: expected 1 values of INT32" in answer.json()["error"]


def test_scene_models_of_strided_windows_decide_and_stream(call: Any, engines: dict[str, Engine]) -> None:
    engine = engines["scenes"]
    movie = film(engine.config, 40)
    whole = engine.segment(movie)
    assert np.array_equal(call("scenes", movie).as_numpy("scores"), whole.scores)
    found = []
    pushes = parts(movie, RNG, 9)
    for count, own in enumerate(pushes):
        options = {"sequence_id": 5, "sequence_start": not count, "sequence_end": count == len(pushes) - 1}
        found.append(call("scenes", own, **options).as_numpy("scores"))
    assert np.array_equal(np.concatenate(found), whole.scores)
