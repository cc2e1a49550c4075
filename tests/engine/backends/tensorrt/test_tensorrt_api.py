"""Every name and call of TensorRT in our modules, and every one of the fake, against TensorRT 11's own bindings."""

from __future__ import annotations

import ast
import enum
import importlib.metadata
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from tensorrt_api import Api, compiler

ENGINE = Path(__file__).resolve().parents[4] / "engine"
SCRIPT = Path(__file__).with_name("tensorrt_api.py")
# What the variables of engine/backends/tensorrt/api.py hold.
HOLDERS = {
    "builder": "Builder",
    "cache": "ITimingCache",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "error": "ParserError",
    "flags": "NetworkDefinitionCreationFlag",
    "layer": "ILayer",
    "_managed": "ExecutionContextAllocationStrategy",
    "names": "DataType",
    "network": "INetworkDefinition",
    "optimisation": "IOptimizationProfile",
    "options": "IBuilderConfig",
    "parser": "OnnxParser",
    "_runtime": "Runtime",
    "tensor": "ITensor",
}
MODULES = ("trt", "_trt")
# What only 8.6 has, and is asked of it alone.
ONLY_OLD = {
    "BuilderFlag.FP16",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
    "ICudaEngine.create_execution_context_without_device_memory",
    "ICudaEngine.device_memory_size",
    "ILayer.precision",
    "ILayer.set_output_type",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
    "PreviewFeature.PROFILE_SHARING_0806",
}


@pytest.fixture(scope="module")
def bindings() -> Path:
    try:
        found = importlib.metadata.distribution("tensorrt-cu13-bindings")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tensorrt-cu13-bindings is not installed")
    if compiler() is None:
        pytest.skip("no C compiler here")
    return Path(str(found.locate_file("tensorrt_bindings")))


@pytest.fixture(scope="module")
def api(bindings: Path, tmp_path_factory: pytest.TempPathFactory) -> Api:
    command = [sys.executable, str(SCRIPT), str(bindings), str(tmp_path_factory.mktemp("libraries"))]
    loaded: Api = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return loaded


def test_the_bindings_speak(api: Api) -> None:
    assert api["IOptimizationProfile"]["set_shape"] == [["input", "min", "opt", "max"]]
    assert api["ICudaEngine"]["create_execution_context"] == [["strategy="], ["runtime_config="]]
    assert api["Builder"]["create_network"] == [["flags="]]
    assert "FP16" not in api["BuilderFlag"]


def uses(tree: ast.AST) -> Iterator[tuple[str, str, ast.Call | None]]:
    """Class, attribute and, if it is called, the call of everything that is asked of TensorRT ("" for the module)."""
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        base = node.value
        name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        if name in MODULES:
            yield "", node.attr, calls.get(id(node))
        elif isinstance(base, ast.Attribute) and ast.unparse(base.value) in {"trt", "self._trt"}:
            yield name, node.attr, calls.get(id(node))
        elif name in HOLDERS:
            yield HOLDERS[name], node.attr, calls.get(id(node))


def accepts(call: ast.Call, parameters: list[str]) -> bool:
    """Whether a call fits an overload's parameters, of which those with = have values of their own."""
    names = [parameter.rstrip("=") for parameter in parameters]
    if any(isinstance(argument, ast.Starred) for argument in call.args) or len(call.args) > len(names):
        return False
    given = [*names[: len(call.args)], *(str(keyword.arg) for keyword in call.keywords)]
    needed = {parameter for parameter in parameters if not parameter.endswith("=")}
    return len(set(given)) == len(given) and needed <= set(given) <= set(names)


def test_all_that_is_asked_of_tensorrt_is_there(api: Api) -> None:
    seen, missing = set(), set()
    tree = ast.parse((ENGINE / "backends" / "tensorrt" / "api.py").read_text(encoding="utf-8"))
    for kind, attribute, call in uses(tree):
        seen.add((kind, attribute))
        if kind == "":
            assert attribute == "__version__" or attribute in api or attribute == "PreviewFeature", attribute
            if call is not None:
                assert any(accepts(call, parameters) for parameters in api[attribute]["__init__"]), ast.unparse(call)
            continue
        assert kind in api, kind
        if attribute not in api[kind]:
            missing.add(f"{kind}.{attribute}")
        elif call is not None and attribute != "__init__":
            offered = api[kind][attribute]
            assert any(accepts(call, parameters) for parameters in offered), f"{ast.unparse(call)}: {offered}"
    assert missing == ONLY_OLD
    assert {kind for kind, _ in seen} >= set(HOLDERS.values()) - {"Runtime"}
    assert ("Runtime", "deserialize_cuda_engine") in seen
    assert len(seen) > 60


def test_a_wrong_name_or_call_would_be_found() -> None:
    (found,) = (use for use in uses(ast.parse("network.get_layers(1, index=2)")))
    kind, attribute, call = found
    assert (kind, attribute) == ("INetworkDefinition", "get_layers")
    assert call is not None
    assert not accepts(call, ["index"])
    assert not accepts(call, ["first", "index", "needed"])
    assert accepts(call, ["first", "index", "free="])


def test_tensorrt_is_asked_in_one_module_only() -> None:
    for path in ENGINE.rglob("*.py"):
        if path.name != "api.py" or path.parent.name == "backends":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            asked = {attribute for kind, attribute, _ in uses(tree) if kind == ""}
            assert asked <= {"__version__"}, f"{path}: {asked}"


def test_the_fake_has_no_name_that_the_real_one_lacks(api: Api) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    from fake_tensorrt import Machine

    compared = 0
    for name, kind in vars(Machine().module).items():
        if not isinstance(kind, type):
            continue
        own = [vars(base) for base in kind.__mro__ if base.__module__.startswith("fake_")]
        members = [member.name for member in kind] if issubclass(kind, enum.IntEnum) else {*chain.from_iterable(own)}
        for attribute in members:
            if attribute.startswith("_"):
                continue
            assert attribute in api[name], f"{name}.{attribute}"
            method = getattr(kind, attribute)
            if inspect.isfunction(method) and api[name][attribute]:
                given = list(inspect.signature(method).parameters)[1:]
                offered = [[parameter.rstrip("=") for parameter in names] for names in api[name][attribute]]
                assert given in offered, f"{name}.{attribute}{given}: {offered}"
                compared += 1
    assert compared > 20


def test_our_logger_and_errors_work_with_the_real_bindings(bindings: Path, tmp_path: Path) -> None:
    """Libraries that give nothing look like those that cannot start: a refusal, with what was logged before."""
    code = f"""
import sys, logging
sys.path.insert(0, {str(SCRIPT.parent)!r})
from pathlib import Path
from tensorrt_api import load
load(Path({str(bindings)!r}), Path({str(tmp_path)!r}))
from megaseg.engine.backends.tensorrt import api as tensorrt
from megaseg.errors import UnsupportedError
trt = tensorrt.tensorrt()
records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger("megaseg.engine.backends.tensorrt.api").addHandler(handler)
logger = tensorrt._logger(trt)
logger.log(trt.ILogger.Severity.ERROR, "no driver")
assert [record.getMessage() for record in records] == ["TensorRT: no driver"]
assert logger.last() == "no driver" and logger.last() == "TensorRT gave no reason"
assert tensorrt.chosen_type("bfloat16") == "bfloat16"
for kind in (trt.Builder, trt.Runtime):
    try:
        tensorrt._started(trt, kind)
    except UnsupportedError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.count("cannot start on this GPU: TensorRT gave no reason") == 2, done.stderr
