"""Block sizes, warps and pipeline stages of the kernels per architecture, and which implementation runs each op there.

``configurations.json`` is a list of rows; ``benchmarks/gpu.sh`` measures them. A key names a class of shapes, from the
general to the particular: ``long.32`` falls back to ``long`` and that to the op's row of the empty key.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from megaseg.errors import UnsupportedError

PATH = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Row:
    op: str
    architecture: str  # sm_80, sm_90, sm_100
    key: str
    implementation: str  # triton, cuda or torch
    measured: bool  # on a GPU of this architecture; else chosen on paper
    configuration: Mapping[str, int]  # of the Triton kernel: constexprs, num_warps, num_stages

    @property
    def capability(self) -> int:
        return int(self.architecture.removeprefix("sm_"))


def read(path: Path = PATH) -> list[Row]:
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def write(rows: Iterable[Row], path: Path = PATH) -> None:
    """One row a line, so that a difference reads well."""
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


@functools.cache
def choice(op: str, capability: int, key: str = "") -> Row:
    """The row of the most particular key, on the nearest architecture at or below ``capability`` (90 for sm_90).

    Below the lowest there is the lowest.

    Raises:
        UnsupportedError: no row for this op.
    """
    while True:
        rows = sorted((row for row in read() if (row.op, row.key) == (op, key)), key=lambda row: row.capability)
        if rows:
            return next((row for row in reversed(rows) if row.capability <= capability), rows[0])
        if not key:
            raise UnsupportedError(f"{PATH.name}: expected a row for op {op}, got none")
        key = key.rpartition(".")[0]


def configuration(op: str, capability: int, key: str = "") -> dict[str, int]:
    """Keyword arguments for the launch of an op's Triton kernel: the ``choice``'s configuration.

    Raises:
        UnsupportedError: no row for this op.
    """
    return dict(choice(op, capability, key).configuration)


def interpreted() -> bool:
    """Whether kernels run on Triton's interpreter (TRITON_INTERPRET=1), on tensors of the host."""
    import triton

    return bool(triton.knobs.runtime.interpret)


def capability() -> int:
    """Of the GPU that kernels are launched on, 90 for sm_90; 0 under Triton's interpreter, which has none."""
    import triton

    return 0 if interpreted() else int(triton.runtime.driver.active.get_current_target().arch)
