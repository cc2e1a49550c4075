"""The graph in plain torch: the oracle of the passes, and the way to run on a device that torch knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.checks import require_finite, require_ids
from megaseg.engine.backends.protocol import LOGITS, PARTS, Excerpt, Rows
from megaseg.engine.graph.graph import Node
from megaseg.engine.graph.passes import PASSES, rewrite
from megaseg.engine.graph.sequences import Windows, windows
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.family import graph_of
from megaseg.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

COMPUTE_TYPES = ("float32", "bfloat16", "float64")


class TorchBackend:
    """Runs the rewritten graph op by op in eager mode, ``batch`` windows at a time where it sees windows.

    ``passes`` names the rewrites; none of them runs the model as written.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "cpu",
        compute_type: str = "float32",
        batch: int = 128,
        passes: Sequence[str] = tuple(PASSES),
    ) -> None:
        try:
            import torch

            from megaseg.engine.backends.torch.evaluation import Evaluation
        except ImportError as error:
            raise UnsupportedError(
                f"backend 'torch' needs the extra train: pip install 'megaseg[train]' ({error})"
            ) from error
        if device == "cuda" and not torch.cuda.is_available():
            raise UnsupportedError("device 'cuda': torch sees no CUDA device here; supported: cpu")
        if compute_type not in COMPUTE_TYPES:
            raise UnsupportedError(
                f"compute_type {compute_type!r}: backend 'torch' supports {', '.join(COMPUTE_TYPES)}"
            )
        self.batch = batch  # 128 was the fastest on windows of 17 shots; bounds memory
        self._torch, self._evaluation = torch, Evaluation
        self._device, self._compute_type = device, compute_type
        self._dtype = getattr(torch, compute_type)
        self.graph = rewrite(graph_of(checkpoint), passes)
        self._weights = {
            node: {name: self._tensor(weight.read()) for name, weight in node.weights.items()}
            for node in self.graph.nodes()
        }

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        # A copy: of one shot read backwards, NumPy keeps the negative stride, which torch refuses.
        tensor = self._torch.from_numpy(values.copy()).to(self._device)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def run(self, excerpts: Sequence[Excerpt], outputs: Sequence[str] = (LOGITS,)) -> list[Rows]:
        """Outputs of each excerpt by itself.

        Raises:
            FeatureError: features that overflow the compute type.
        """
        require_ids(self.graph, excerpts)
        wanted = [self._nodes_of(name) for name in outputs]
        results = []
        for excerpt in excerpts:
            flat = [node for nodes in wanted for node in nodes]
            rows = iter(self._rows(flat, excerpt.features, range(excerpt.first, excerpt.last)))
            results.append(
                tuple(
                    np.stack([next(rows) for _ in nodes], axis=1) if name.endswith(PARTS) else next(rows)
                    for name, nodes in zip(outputs, wanted, strict=True)
                )
            )
        for own in zip(*results, strict=True):
            require_finite(own, self._compute_type)
        return results

    def _nodes_of(self, name: str) -> tuple[Node, ...]:
        """The node of an output, or with ``.parts`` the nodes of its parts."""
        output = self.graph.output(name.removesuffix(PARTS))
        return output.parts if name.endswith(PARTS) else (output.node,)

    def rows(
        self, wanted: Sequence[Node], features: Sequence[NDArray[np.float32]], windows: range | None = None
    ) -> list[NDArray[np.float32]]:
        """Rows of nodes of the graph, not of shots: of every sequence, or of the windows of some shots.

        Raises:
            FeatureError: features that overflow the compute type.
        """
        found = self._rows(wanted, features, windows)
        for rows in found:
            require_finite([rows], self._compute_type)
        return found

    def _rows(
        self, wanted: Sequence[Node], features: Sequence[NDArray[np.float32]], windows: range | None = None
    ) -> list[NDArray[np.float32]]:
        torch = self._torch
        with torch.inference_mode():
            evaluation = self._evaluation(self.graph, self._weights, [self._tensor(array) for array in features])
            shots = len(features[0])
            batches = self._batches(shots, range(shots) if windows is None else windows)
            parts = zip(*(evaluation.rows(wanted, batch) for batch in batches), strict=True)
            dtype = torch.float64 if self._compute_type == "float64" else torch.float32
            return [torch.cat(part).to(dtype).cpu().numpy() for part in parts]

    def new_cache(self) -> None:
        """Nothing is kept from one excerpt to the next."""

    def _batches(self, shots: int, wanted: range) -> Iterator[Tensor]:
        """Shot indices (sequences, length): centred windows, or the whole movie at once."""
        sequences = self.graph.sequences
        if not isinstance(sequences, Windows):
            yield self._torch.arange(shots)[None]
            return
        for start in range(wanted.start, wanted.stop, self.batch):
            end = min(start + self.batch, wanted.stop)
            yield self._torch.from_numpy(windows(start, end, sequences.length, shots))

    def describe(self) -> dict[str, Any]:
        """Backend, device, target, compute_type, num_threads, weight_bytes."""
        tensors = {id(t): t for weights in self._weights.values() for t in weights.values()}.values()
        return {
            "backend": "torch",
            "device": self._device,
            "target": f"torch {self._torch.__version__}",
            "compute_type": self._compute_type,
            "num_threads": self._torch.get_num_threads(),
            "weight_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        }
