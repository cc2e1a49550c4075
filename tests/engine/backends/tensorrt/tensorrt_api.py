"""TensorRT's own Python bindings without its libraries: what they offer by name and signature.

The bindings need nine C functions of the libraries when they are loaded, and call none of them then. Run as a program
with the folder of ``tensorrt_bindings`` and a folder for libraries that have these functions and do nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

FUNCTIONS = (
    *(f"create{name}_INTERNAL" for name in ("InferBuilder", "InferRefitter", "InferRuntime", "NvOnnxParser")),
    *("createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry", "getPluginRegistry"),
    *("initLibNvInferPlugins", "getNvOnnxParserVersion"),
)
OLD = (  # also in 8.6
    *("_ZN11nvuffparser15createUffParserEv", "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi"),
    *("_ZN14nvcaffeparser117createCaffeParserEv", "_ZN14nvcaffeparser123shutdownProtobufLibraryEv"),
)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
Api = dict[str, dict[str, list[list[str]]]]  # class, attribute, and the parameters of every overload


def compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc"))


def load(bindings: Path, folder: Path) -> ModuleType:
    """The bindings, as the module ``tensorrt``."""
    major = _major(bindings)
    source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in (*FUNCTIONS, *OLD))
    for name in LIBRARIES:
        library = folder / f"lib{name}.so.{major}"
        options = ["-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{library.name}", "-o", str(library)]
        subprocess.run([str(compiler()), *options], input=source, text=True, check=True)
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(bindings.parent))
    import tensorrt_bindings

    sys.modules["tensorrt"] = tensorrt_bindings
    module: ModuleType = tensorrt_bindings
    return module


def _major(bindings: Path) -> str:
    found = re.search(r'__version__ = "(\d+)', (bindings / "__init__.py").read_text())
    assert found
    return found[1]


def describe(trt: Any) -> Api:
    kinds = {name: kind for name, kind in vars(trt).items() if isinstance(kind, type)}
    return {name: {key: list(overloads(getattr(kind, key))) for key in dir(kind)} for name, kind in kinds.items()}


def overloads(method: Any) -> Iterator[list[str]]:
    """The parameters of each overload after self, from the text that pybind11 gives it: ``name`` or ``name=``."""
    for line in (getattr(method, "__doc__", None) or "").splitlines():
        found = re.fullmatch(r"(?:\d+\. )?\w+\(self: [^,()]+(?:, (.*))?\) -> .*", line.strip())
        if found:
            parameters = found[1] or ""
            while parameters != (simpler := re.sub(r"\[[^\[\]]*\]|<[^<>]*>", "", parameters)):
                parameters = simpler  # types' arguments and values that are objects have commas and colons
            parts = [part.partition(": ") for part in parameters.split(", ") if part]
            yield [name + ("=" if "=" in kind else "") for name, _, kind in parts]


if __name__ == "__main__":
    print(json.dumps(describe(load(Path(sys.argv[1]), Path(sys.argv[2])))))
