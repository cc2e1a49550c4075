"""What is pretrained: an encoder with mask tokens and prediction heads, which training alone needs, and its losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.models.contextualizer import Contextualizer
from megaseg.models.long_range import LongRange, LongRangeBatch
from megaseg.training.dropout import use_byte_dropout
from megaseg.training.objectives.boundary import log_odds_cross_entropy
from megaseg.training.objectives.info_nce import symmetric
from megaseg.training.objectives.masked_prediction import contrast, cosine_contrast, regression
from megaseg.training.recipes.pretrain.batches import Batch
from megaseg.training.recipes.pretrain.config import PretrainConfig

Terms = dict[str, Tensor]  # the losses of a batch by name; those that nothing in the batch can be asked for are missing


class _Pretraining(nn.Module):
    """An encoder, and heads that predict the features (K_m) of a masked token from its contextual row (C)."""

    def __init__(self, encoder: Contextualizer | LongRange, config: PretrainConfig) -> None:
        super().__init__()
        self.encoder, self._config = encoder, config
        self.heads = nn.ModuleDict(
            {m.name: nn.Linear(config.hidden_size, m.feature_size) for m in encoder.config.modalities}
        )
        use_byte_dropout(encoder)
        for name, parameter in encoder.named_parameters():
            if name.endswith("position.weight"):
                nn.init.normal_(parameter, std=config.position_std)
        losses: dict[str, Callable[..., Tensor | None]] = {
            "contrast": contrast,
            "cosine": partial(cosine_contrast, temperature=config.temperature),
            "regression": regression,
        }
        self._masked_loss = losses[config.objective]
        self.splice = nn.Linear(encoder.config.embedding_size, 1) if config.splice_share else None
        self._compute = partial(torch.autocast, "cpu", torch.bfloat16, enabled=config.compute_type == "bfloat16")

    def predicted(self, name: str, rows: Tensor, batch: Batch) -> Tensor | None:
        """Eq. 1 of one modality, from its contextual rows (batch, n, C)."""
        said, features = batch.said[name], batch.features[name]
        asked = said if self._config.asked == "all" else batch.masked[name] & said
        predictions = self.heads[name](rows[asked])
        if self._config.candidates == "asked" or self._config.objective == "regression":
            return self._masked_loss(predictions, features[asked], torch.arange(len(predictions)))
        places = said.flatten().cumsum(0) - 1
        return self._masked_loss(predictions, features[said], places[asked.flatten()])

    def spliced(self, embedding: Tensor, batch: Batch) -> dict[str, Tensor | None]:
        """Cross-entropy of whether the next shot is from elsewhere, told from each shot's embedding (batch, n, E)."""
        if self.splice is None or not batch.gaps.any():
            return {}
        log_odds = self.splice(embedding[:, :-1][batch.gaps])[:, 0]
        return {"splice": log_odds_cross_entropy(log_odds, batch.splices[batch.gaps].to(log_odds.dtype))}


class ContextualizerPretraining(_Pretraining):
    """A contextualizer and the loss ``intra.MODALITY`` of every modality (Eq. 2), besides ``splice``."""

    encoder: Contextualizer

    def __init__(self, model: ContextualizerConfig, config: PretrainConfig) -> None:
        super().__init__(Contextualizer(model), config)
        self.mask_token = nn.Parameter(0.02 * torch.randn(config.hidden_size))

    def forward(self, batch: Batch) -> Terms:
        """The losses of a batch."""
        there, masked = (next(iter(own.values()), None) for own in (batch.there, batch.masked))
        with self._compute():
            rows = self.encoder(batch.features, there, masked, self.mask_token)
        rows = rows.float()
        terms = self.spliced(rows, batch)
        if self._config.has("intra"):
            terms |= {f"intra.{name}": self.predicted(name, rows, batch) for name in batch.features}
        return _known(terms)


class LongRangePretraining(_Pretraining):
    """A long-range model and the losses ``intra.ROLE`` (Eq. 2), ``inter.SOURCE`` (Eq. 5) and ``cross`` (Eq. 6)."""

    encoder: LongRange

    def __init__(self, model: LongRangeConfig, config: PretrainConfig) -> None:
        super().__init__(LongRange(model), config)
        tokens = {m.name: nn.Parameter(0.02 * torch.randn(config.hidden_size)) for m in model.modalities}
        self.mask_tokens = nn.ParameterDict(tokens)

    def forward(self, batch: Batch) -> Terms:
        """The losses of a batch, as far as the config trains on them."""
        config, roles = self._config, self.encoder.config.roles
        windows = LongRangeBatch(batch.features, batch.there, batch.shots, batch.masked)
        with self._compute():
            found = self.encoder.contextual(windows, dict(self.mask_tokens.items()))
        rows = {name: own.float() for name, own in found.items()}
        terms: dict[str, Tensor | None] = {}
        if config.has("intra"):
            terms |= {f"intra.{role}": self.predicted(name, rows[name], batch) for role, name in roles.items()}
        if config.has("inter"):
            terms |= self._aligned(rows, windows, batch)
        if config.has("cross") and {"audio", "language"} <= set(roles):
            terms["cross"] = self._crossed(rows, batch)
        if config.has("splice"):
            terms |= self.spliced(self._embedding(rows, windows), batch)
        return _known(terms)

    def _embedding(self, rows: Mapping[str, Tensor], windows: LongRangeBatch) -> Tensor:
        """The encoder's output (batch, n, 3 C) of its contextual rows."""
        model = self.encoder.config
        role = "language" if model.audio is None else "audio"
        own, there = rows[model.roles[role]], windows.there
        shots = self.encoder.language_of_shots(own, windows) if role == "language" else own
        with self._compute():
            crossed = self.encoder.cross(own, rows[model.video], there.get(model.roles[role]), there.get(model.video))
        outputs = {"context.video": rows[model.video], f"context.{role}": shots, f"cross.{role}": crossed.float()}
        return self.encoder.embedding(outputs)

    def _aligned(self, rows: Mapping[str, Tensor], windows: LongRangeBatch, batch: Batch) -> dict[str, Tensor | None]:
        """Eq. 5, the part of each source: shots that have both are pairs."""
        model, config, terms = self.encoder.config, self._config, {}
        video, seen = rows[model.video], batch.said[model.video]
        for role, name in list(model.roles.items())[1:]:
            if role == "language":
                own = self.encoder.language_of_shots(rows[name], windows)
                both = seen & _spoken(batch, name, seen.shape[1])
            else:
                own, both = rows[name], seen & batch.said[name]
            terms[f"inter.{role}"] = symmetric(video[both], own[both], config.tau, summed=config.summed)
        return terms

    def _crossed(self, rows: Mapping[str, Tensor], batch: Batch) -> Tensor | None:
        """Eq. 6, over the shots of windows that have all three modalities."""
        model, config = self.encoder.config, self._config
        sources = [name for name in (model.audio, model.language) if name is not None]
        whole = torch.stack([batch.said[name].any(1) for name in sources]).all(0)
        if not whole.any():
            return None
        there = {name: own[whole] for name, own in batch.there.items()}
        target, seen = rows[model.video][whole], batch.said[model.video][whole]
        with self._compute():
            a, b = (self.encoder.cross(rows[m][whole], target, there.get(m), there.get(model.video)) for m in sources)
        return symmetric(a[seen].float(), b[seen].float(), config.tau, summed=config.summed)


def _spoken(batch: Batch, language: str, shots: int) -> Tensor:
    """Which shots (batch, n) have a token."""
    assert batch.shots is not None
    return ((batch.shots[..., None] == torch.arange(shots)) & batch.said[language][..., None]).any(1)


def _known(terms: Mapping[str, Tensor | None]) -> Terms:
    return {name: term for name, term in terms.items() if term is not None}
