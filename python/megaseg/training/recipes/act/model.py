"""The two models of act training, the ablations of the act model, and its export as an ordinary checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.mega import MegaConfig
from megaseg.evaluation.act import COUNT
from megaseg.models import Mega, to_checkpoint
from megaseg.models.mega import ModalityEncoder
from megaseg.training.recipes.act.config import ActConfig

SENTENCE = "sentence"


class ShotModel(Mega):
    """MEGA with the ablations of the paper's Tables 2a and 2b; ``checkpoint`` gives an ablated model as plain MEGA."""

    def __init__(self, config: MegaConfig, *, align_in_shots: bool = True, align_in_bottlenecks: bool = True) -> None:
        super().__init__(config)
        self.align_in_shots, self.align_in_bottlenecks = align_in_shots, align_in_bottlenecks

    def fused(self, features: Mapping[str, Tensor]) -> Tensor:
        """Fused rows as of ``Mega.fused``, with alignment encoding only where the ablation leaves it."""
        align = self.align.weight
        none = torch.zeros_like(align)
        tokens, shots = (align if on else none for on in (self.align_in_bottlenecks, self.align_in_shots))
        encoders: dict[str, ModalityEncoder] = dict(self.modalities.items())  # type: ignore[arg-type]
        encoded = {name: encoder.encode(features[name], tokens, shots) for name, encoder in encoders.items()}
        bottlenecks = torch.cat([own for own, _ in encoded.values()], dim=1)
        return torch.cat([encoders[name].fuse(bottlenecks, own) for name, (_, own) in encoded.items()], dim=2)

    def checkpoint(self) -> Checkpoint:
        """The same function as an ordinary checkpoint, whose table is added to shots and bottleneck tokens alike.

        Where one of them is off, the bottleneck tokens and the table hold the difference.
        """
        plain = to_checkpoint(self)
        tensors = dict(plain.tensors)
        align = tensors["align.weight"]
        for name in self.modalities:
            key = f"modalities.{name}.bottleneck"
            own = tensors[key] + (align if self.align_in_bottlenecks else 0)  # what every bottleneck token is
            tensors[key] = own - (align if self.align_in_shots else 0)
        if not self.align_in_shots:
            tensors["align.weight"] = 0 * align
        return Checkpoint(plain.config, tensors)


def shot_model(config: ActConfig, widths: Mapping[str, int], recipe: str | None) -> ShotModel:
    """The act model; late fusion makes its fusion layers unimodal, so that modalities meet in the head alone."""
    layers, fusion = config.num_unimodal_layers, config.num_fusion_layers
    model = ShotModel(
        MegaConfig(
            task="act",
            modalities=tuple(Modality(name, width) for name, width in widths.items()),
            max_length=config.max_length,
            num_bottleneck=config.num_bottleneck,
            hidden_size=config.hidden_size,
            ffn_size=config.ffn_size,
            num_heads=config.num_heads,
            num_unimodal_layers=layers + fusion if config.late_fusion else layers,
            num_fusion_layers=0 if config.late_fusion else fusion,
            num_classes=COUNT,
            dropout=config.dropout,
            recipe=recipe,
        ),
        align_in_shots=config.align_in_shots,
        align_in_bottlenecks=config.align_in_bottlenecks,
    )
    model.spread_positions(config.position_std)
    return model


def synopsis_model(config: ActConfig, width: int, modalities: int, longest: int) -> Mega:
    """The synopsis model: as wide as the act model's fused rows, no fusion stage (Table 1b)."""
    size = config.hidden_size * modalities
    model = Mega(
        MegaConfig(
            task="synopsis",
            modalities=(Modality(SENTENCE, width),),
            max_length=longest,
            num_bottleneck=config.num_bottleneck,
            hidden_size=size,
            ffn_size=size,
            num_heads=2 * modalities,
            num_unimodal_layers=1,
            num_fusion_layers=0,
            num_classes=COUNT,
            dropout=config.synopsis_dropout,
        )
    )
    model.spread_positions(config.position_std)
    return model
