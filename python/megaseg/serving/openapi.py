"""The OpenAPI document's schemas: bodies and answers of every route."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import megaseg.engine
from megaseg.serving.datatypes import DTYPES, RAW

Schema = dict[str, Any]
_BINARY: Schema = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_SCREENPLAYS: Schema = {
    "text/plain": {"schema": {"type": "string"}},
    **{
        f"application/{kind}": {"schema": {"type": "string", "format": "binary"}}
        for kind in ("vnd.finaldraft.fdx", "pdf")
    },
}
_MEANINGS = {
    400: "A request that is malformed, or that the model does not take.",
    401: "No bearer token, or a wrong one.",
    404: "No such model or version.",
    409: "The sequence is not open.",
    413: "More bytes or shots than the limit.",
    429: "The queue is full, or too many sequences are open: nothing was accepted, try again later.",
    500: "A defect of the service, or a checkpoint that cannot be loaded; its log says more.",
    501: "The model cannot do that.",
    503: "The model is not loaded, or the service is shutting down.",
    504: "The request's timeout passed.",
}


def _object(properties: Schema, required: Sequence[str] = (), **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _given(properties: Schema, required: Sequence[str] = (), **more: Any) -> Schema:
    """An object of a request, in which null stands for a member that is left out."""
    optional = {
        name: schema if name in required else {"anyOf": [schema, {"type": "null"}]}
        for name, schema in properties.items()
    }
    return _object(optional, required, **more)


_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_SHAPE: Schema = {"type": "array", "items": {"type": "integer"}}
_DATATYPE: Schema = {"enum": list(DTYPES)}
_DESCRIBED = _object({"name": _TEXT, "datatype": _DATATYPE, "shape": _SHAPE}, ["name", "datatype", "shape"])
_INPUT = _given(
    {
        "name": _TEXT,
        "datatype": {"enum": list(RAW), "description": "BF16 comes as binary data; FP16 and BF16 are widened."},
        "shape": {"type": "array", "items": _COUNT, "maxItems": 8},
        "data": {"type": "array", "items": {}},
        "parameters": _given({"binary_data_size": _COUNT}, additionalProperties=False),
    },
    ["name", "datatype", "shape"],
)
_OUTPUT = {**_DESCRIBED, "properties": {**_DESCRIBED["properties"], "data": {"type": "array"}, "parameters": {}}}
_PARAMETERS = _given(
    {
        "sequence_id": {"oneOf": [_COUNT, _TEXT], "description": "0 and an empty text are no sequence."},
        "sequence_start": _FLAG,
        "sequence_end": _FLAG,
        "provisional": {**_FLAG, "description": "At a sequence's start: early decisions before the final ones."},
        "timeout": {**_COUNT, "description": "Microseconds; 0 is no deadline."},
        "time_base": {**_TEXT, "description": "Seconds a tick of the input times, such as 1/24."},
        "threshold": {"type": "number", "minimum": 0, "maximum": 1},
        "min_scene_length": _COUNT,
        "num_scenes": _COUNT,
        "ordered": _FLAG,
        "binary_data_output": _FLAG,
    },
    additionalProperties=False,
    patternProperties={"^triton_": {}},
)
_ENTRY = _object({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT}, ["name", "version", "state"])
_CONFIGURED = _object(
    {
        "name": _TEXT,
        "data_type": {"enum": [f"TYPE_{name}" for name in DTYPES]},
        "dims": _SHAPE,
        "optional": _FLAG,
    },
    ["name", "data_type", "dims"],
)
_DURATION = _object({"count": _COUNT, "ns": _COUNT}, ["count", "ns"])
_STATISTICS = _object(
    {
        **dict.fromkeys(("name", "version"), _TEXT),
        "last_inference": {**_COUNT, "description": "Milliseconds since 1970; 0 is never."},
        "inference_count": {**_COUNT, "description": "Requests that were answered."},
        "execution_count": {**_COUNT, "description": "Batches that ran."},
        "inference_stats": _object(
            {
                "success": {**_DURATION, "description": "Requests answered, from arrival to answer."},
                "fail": {**_DURATION, "description": "Requests that failed."},
                "compute_infer": {**_DURATION, "description": "Batches."},
            },
            ["success", "fail", "compute_infer"],
        ),
    },
    ["name", "version", "last_inference", "inference_count", "execution_count", "inference_stats"],
)
_PLACE: Schema = {
    **dict.fromkeys(("first_shot", "last_shot"), _COUNT),
    **{name: {"type": "number"} for name in ("start_seconds", "end_seconds")},
}
_FOUND = _object(
    {
        "title": _TEXT,
        "scene": {"type": "integer", "minimum": 1},
        **_PLACE,
        **{name: {"type": "integer"} for name in ("start_ticks", "end_ticks")},
        "time_base": {**_TEXT, "description": "Seconds a tick, such as 1/24."},
        "distance": {"type": "number", "minimum": 0, "description": "Of vectors of unit length: 0 to 2."},
    },
    ["title", "scene", "first_shot", "last_shot", "distance"],
)
_SEARCHED = _object(
    {
        "name": _TEXT,
        "scene": {"type": "integer", "minimum": 1},
        "scenes": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        **_PLACE,
    },
    ["name", "first_shot", "last_shot"],
)
_SCHEMAS: dict[str, Schema] = {
    "similar": _object({"query": _SEARCHED, "results": {"type": "array", "items": _FOUND}}, ["query", "results"]),
    "error": _object({"error": _TEXT}, ["error"]),
    "live": _object({"live": {"const": True}}, ["live"]),
    "ready": _object({"ready": {"const": True}, "name": _TEXT}, ["ready"]),
    "server": _object(
        {"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}},
        ["name", "version", "extensions"],
    ),
    "model": _object(
        {
            "name": _TEXT,
            "versions": {"type": "array", "items": _TEXT},
            "platform": _TEXT,
            "inputs": {"type": "array", "items": _DESCRIBED},
            "outputs": {"type": "array", "items": _DESCRIBED},
        },
        ["name", "versions", "platform", "inputs", "outputs"],
    ),
    "config": _object(
        {
            **dict.fromkeys(("name", "platform", "backend"), _TEXT),
            "max_batch_size": {"const": 0, "description": "Shots are no batch dimension."},
            **{key: {"type": "array", "items": _CONFIGURED} for key in ("input", "output")},
        },
        ["name", "platform", "backend", "max_batch_size", "input", "output"],
    ),
    "statistics": _object({"model_stats": {"type": "array", "items": _STATISTICS}}, ["model_stats"]),
    "inference_request": _given(
        {
            "id": _TEXT,
            "inputs": {"type": "array", "items": _INPUT},
            "outputs": {
                "type": "array",
                "items": _given(
                    {"name": _TEXT, "parameters": _given({"binary_data": _FLAG}, additionalProperties=False)},
                    ["name"],
                ),
            },
            "parameters": _PARAMETERS,
        },
        ["inputs"],
    ),
    "inference_response": _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "outputs": {"type": "array", "items": _OUTPUT},
            "parameters": {"type": "object"},
        },
        ["model_name", "model_version", "outputs"],
    ),
    "film": _object({"path": {**_TEXT, "description": "A film, below the service's media root."}}, ["path"]),
    "index_request": _given({"ready": _FLAG}),
    "index": {"type": "array", "items": _ENTRY},
    "change_request": _given({"parameters": _given({"unload_dependents": _FLAG}, additionalProperties=False)}),
}


def _json(name: str) -> Schema:
    """JSON content of a named schema."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _operation(
    summary: str, content: Schema, errors: Sequence[int] = (), body: Schema | None = None, *, optional: bool = False
) -> Schema:
    """What FastAPI is told of a route: the content of its answer, the errors it may give, and of its request's body."""
    answers = {
        code: {"description": _MEANINGS[code], "content": _json("error")} for code in sorted({401, 500, *errors})
    }
    described: Schema = {
        "summary": summary,
        "responses": {200: {"description": summary, "content": content}, **answers},
    }
    if body is not None:
        described["openapi_extra"] = {"requestBody": {"required": not optional, "content": body}}
    return described


_INFERENCE = (400, 404, 409, 413, 429, 501, 503, 504)
_CHANGE = (400, 404, 413, 501, 503)
OPERATIONS: dict[str, Schema] = {
    "live": _operation("The process runs.", _json("live")),
    "ready": _operation("The service takes requests.", _json("ready"), (503,)),
    "server": _operation("The service and its extensions.", _json("server")),
    "model": _operation("A model's tensors.", _json("model"), (404, 503)),
    "model_ready": _operation("The model takes requests.", _json("ready"), (404, 503)),
    "config": _operation("A model's configuration.", _json("config"), (404, 503)),
    "statistics": _operation("What a model, or each one, has done since the start.", _json("statistics"), (404,)),
    "infer": _operation(
        "Run a model on one movie, or push shots to a sequence.",
        {**_json("inference_response"), **_BINARY},
        _INFERENCE,
        {**_json("inference_request"), **_BINARY},
    ),
    "index": _operation("Known models.", _json("index"), (400, 413), _json("index_request"), optional=True),
    "load": _operation("Load a known model, or read it anew.", {}, _CHANGE, _json("change_request"), optional=True),
    "unload": _operation("Unload a model.", {}, _CHANGE, _json("change_request"), optional=True),
    "segment": _operation(
        "Tracks of a feature file, a screenplay or a film.",
        _json("result"),
        _INFERENCE,
        {**_BINARY, **_SCREENPLAYS, **_json("film")},
    ),
    "similar": _operation(
        "Scenes of the index like one of a title, or of a feature file, a screenplay or a film.",
        _json("similar"),
        _INFERENCE,
        {**_BINARY, **_SCREENPLAYS, **_json("film")},
        optional=True,
    ),
    "metrics": _operation("Prometheus metrics.", {"text/plain": {"schema": {"type": "string"}}}),
    "openapi": {"include_in_schema": False},
}


def document(generated: Schema, models: Sequence[str], *, token: bool) -> Schema:
    """FastAPI's document of the routes, with the schemas, the paths' parameters and how to authenticate."""
    name = {"in": "path", "name": "name", "required": True, "schema": {"enum": list(models)}}
    version = {"in": "path", "name": "version", "required": True, "schema": {"enum": ["1"]}}
    parameters = {"name": name, "version": version}
    for path, item in generated["paths"].items():
        if used := re.findall(r"{(\w+)}", path):
            item["parameters"] = [parameters[key] for key in used]
        for operation in item.values() if token and not path.startswith("/v2/health/") else ():
            if isinstance(operation, dict):
                operation["security"] = [{"token": []}]
    (query,) = (q for q in generated["paths"]["/v1/segment"]["post"]["parameters"] if q["name"] == "model")
    query["required"] = len(models) > 1
    query["schema"].pop("default")
    query["schema"] |= {"items": {"enum": list(models)}, "minItems": 1, "uniqueItems": True}
    components = {"schemas": {**_SCHEMAS, **_result_schemas()}}
    schemes = {"token": {"type": "http", "scheme": "bearer"}}
    return {**generated, "components": {**components, **({"securitySchemes": schemes} if token else {})}}


def _result_schemas() -> dict[str, Schema]:
    """The result's own schema, its definitions beside it as OpenAPI has them."""
    file = Path(next(iter(megaseg.engine.__path__))) / "results" / "result.schema.json"
    schema = json.loads(file.read_text(encoding="utf-8").replace("#/$defs/", "#/components/schemas/"))
    definitions: dict[str, Schema] = schema.pop("$defs")
    return {"result": {key: value for key, value in schema.items() if not key.startswith("$")}, **definitions}
