"""Small networks beside the code, run by ONNX Runtime (extra ``megaseg[video]``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.system import usable_cpus
from megaseg.errors import UnsupportedError


class OnnxNetwork:
    """A network of one input, loaded at its first call.

    ``num_threads`` 0 takes all cores. A network's outputs do not depend on it beyond rounding.
    """

    def __init__(self, path: Path, *, num_threads: int = 0) -> None:
        self.path = path
        self.num_threads = num_threads
        self._session: Any = None

    def __call__(self, rows: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Every output for one batch of input rows.

        Raises:
            UnsupportedError: ONNX Runtime is not installed.
        """
        if self._session is None:
            self._session = _session(self.path, self.num_threads)
        outputs: list[NDArray[np.float32]] = self._session.run(None, {self._session.get_inputs()[0].name: rows})
        return outputs


def _session(path: Path, num_threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnsupportedError(f"{path.name} needs ONNX Runtime: pip install 'megaseg[video]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or usable_cpus()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # less memory, no less speed
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoder's threads want the cores
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
