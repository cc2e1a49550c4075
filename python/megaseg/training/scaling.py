"""Linear scalings of raw features for training, folded into the model's projections afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Scaling:
    """z = (x - mean) @ basis; ``mean`` (D_m,), ``basis`` (D_m, K)."""

    mean: Tensor
    basis: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (n, D_m) -> (n, K)."""
        return (rows - self.mean) @ self.basis

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The projection of z, (C, K) and (C,), as one of x: (C, D_m) and (C,)."""
        full = weight.double() @ self.basis.double().T
        return full.float(), (bias.double() - full @ self.mean.double()).float()


def fit_scalings(rows: Mapping[str, Tensor], components: Mapping[str, int]) -> dict[str, Scaling]:
    """Scalings to unit spread by modality; a modality in ``components`` keeps only that many principal directions.

    Fewer directions keep a model from memorising a few dozen movies through hundreds of features.

    Raises:
        CheckpointError: ``components`` names no modality, or more directions than it has features.
    """
    for name, count in components.items():
        if name not in rows or not 0 < count <= rows[name].shape[1]:
            widths = {key: value.shape[1] for key, value in rows.items()}
            raise CheckpointError(f"training config: components {name}: {count} does not fit the modalities {widths}")
    return {
        name: _principal(values, components[name]) if name in components else _standard(values)
        for name, values in rows.items()
    }


def unscaled(checkpoint: Checkpoint, scalings: Mapping[str, Scaling]) -> Checkpoint:
    """A checkpoint of scaled features as one of raw features."""
    tensors = dict(checkpoint.tensors)
    modalities = []
    for name in (modality.name for modality in checkpoint.config.modalities):
        keys = f"modalities.{name}.proj.weight", f"modalities.{name}.proj.bias"
        folded = scalings[name].folded(*(torch.from_numpy(tensors[key]) for key in keys))
        tensors |= {key: tensor.numpy() for key, tensor in zip(keys, folded, strict=True)}
        modalities.append(Modality(name, len(scalings[name].mean)))
    config = checkpoint.config.replaced(modalities=tuple(modalities))
    return Checkpoint(config, tensors, dict(checkpoint.metadata))


def _standard(rows: Tensor) -> Scaling:
    return Scaling(rows.mean(0), torch.diag(1 / rows.std(0).clamp_min(1e-3)))


def _principal(rows: Tensor, count: int) -> Scaling:
    """Scaling to the directions of largest second moment over the rows that are not zero; zeros stay zero."""
    said = rows[rows.any(1)].double()
    vectors = torch.linalg.eigh(said.T @ said)[1][:, -count:]
    basis = vectors / (said @ vectors).std(0).clamp_min(1e-6)
    return Scaling(torch.zeros(rows.shape[1]), basis.float())
