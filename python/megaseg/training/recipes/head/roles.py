"""Semantic roles of an event (VidSitu): a decoder writes ``role: filler`` for a verb, from the event's shots.

A text is a sequence of tokens: a role with its colon, the words of its filler, the next role. The vocabulary is all
tokens of the training annotations; a word that is not among them cannot be written, and no text matches a reference
with one. A verb that training has not seen is the unknown verb, which stands for any verb now and then in training.

VidSitu's own annotations were not at hand: the head is proved on generated clips with known answers.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from megaseg.errors import FeatureError
from megaseg.evaluation.cider import cider
from megaseg.models.role_decoder import END, RoleDecoder
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.events import Clips, annotated, clip_windows, filled
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head
from megaseg.training.recipes.head.vidsitu import EVENTS, Annotation, Event

if TYPE_CHECKING:
    from typing_extensions import Self

SHOTS = 8  # most tokens that the decoder reads of an event: more shots are averaged in as many groups
LONGEST = 60  # most tokens of a text that is trained on; what is behind is cut off
_SIZE = 128  # of the decoder where the config gives none
_UNKNOWN_VERB = 0
_HIDDEN_VERBS = 0.05  # share of training texts whose verb is the unknown one
_NO_TEXT = -1  # fills up an example's references
_TEXTS = 256  # written at once


@dataclass(frozen=True)
class Roles(Head):
    """A vocabulary: ``verbs`` from id 1, ``words`` from id 1 (0 ends a text), and the most tokens of a text."""

    kind: ClassVar[str] = "roles"
    figure: ClassVar[str] = "cider"
    verbs: tuple[str, ...]
    words: tuple[str, ...]
    longest: int

    @classmethod
    def read_labels(cls, path: Path) -> Mapping[str, list[Annotation]]:
        """Annotations by clip, from a file in VidSitu's layout."""
        return annotated(path)

    @classmethod
    def of(cls, films: Films, labels: Clips, config: HeadConfig) -> Self:
        """The head with the vocabulary of the training clips."""
        events = [event for own in labels.values() for note in own for event in note.events if event and event.roles]
        texts = [tokens_of(event)[:LONGEST] for event in events]
        if not texts:
            raise FeatureError("roles: expected events with a verb and roles to train on, got none")
        words = Counter(token for text in texts for token in text)
        verbs = Counter(event.verb for event in events)
        return cls(_by_frequency(verbs), _by_frequency(words), max(map(len, texts)))

    def examples(self, films: Films, labels: Clips, drawing: Drawing) -> Examples:
        """An example for each verb of each event of a clip; its references are all annotations of that verb."""
        verbs = {verb: number for number, verb in enumerate(self.verbs, 1)}
        words = {word: number for number, word in enumerate(self.words, 1)}
        rows, marks, targets = [], [], []
        for film, name in enumerate(films.names):
            references = _references(labels.get(name, []))
            if not references:
                continue
            windows, events = clip_windows(films, film, drawing)
            for (event, verb), texts in references.items():
                rows.append(windows)
                marks.append(events[event] * (1 + verbs.get(verb, _UNKNOWN_VERB)))
                targets.append(_ids(texts, words, self.longest if drawing.training else None))
        if not rows:
            raise FeatureError(f"roles: expected annotated roles in some of {len(films.names)} clips, got none")
        return Examples(filled(rows, -1), filled(marks, 0), filled(targets, _NO_TEXT))

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """The event's shots, (examples, SHOTS, E + 2), and texts.

        The last two columns are 1 where there is a shot, and the verb's id.
        """
        rows, marks = embedded.flatten(1, 2), examples.marks.flatten(1)
        chosen = marks > 0
        count = chosen.sum(1, keepdim=True)  # of an event's shots, at least 1
        group = (chosen.cumsum(1) - 1) * count.clamp_max(SHOTS) // count
        member = (group[..., None] == torch.arange(SHOTS)) & chosen[..., None]  # (examples, rows, SHOTS)
        sizes = member.sum(1)
        shots = torch.einsum("nrE,nrs->nsE", rows, member.to(rows.dtype)) / sizes.clamp_min(1)[..., None]
        verb = (marks.amax(1) - 1)[:, None].expand(-1, SHOTS)
        found = torch.cat([shots, torch.stack([sizes > 0, verb], dim=2).to(rows.dtype)], dim=2)
        return found, examples.targets

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """The decoder; its width is ``head_size``, or 128."""
        size = config.head_size or _SIZE
        if size % 4:
            raise FeatureError(f"roles: expected a head_size that 4 heads divide, got {size}")
        return RoleDecoder(width, len(self.verbs) + 1, len(self.words) + 1, self.longest, size, config.head_dropout)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor:
        """Cross entropy of the references' tokens, each after those before it."""
        example, reference = (targets[:, :, 0] != _NO_TEXT).nonzero(as_tuple=True)
        shots, there, verb = _parts(inputs[example])
        if model.training:
            verb = verb.masked_fill(torch.rand(len(verb)) < _HIDDEN_VERBS, _UNKNOWN_VERB)
        return _decoder(model).loss(shots, there, verb, targets[example, reference].clamp_min(END))

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Token ids (events, longest) of the texts, 0 behind their ends."""
        return torch.cat([_decoder(model).greedy(*_parts(part)) for part in torch.split(inputs, _TEXTS)])

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, float]:
        """Share of texts that equal a reference, and CIDEr of fillers: an item is a role of an event."""
        right, fillers, references = [], [], []
        for ids, texts in zip(predictions.tolist(), targets.tolist(), strict=True):
            written, wanted = self.tokens(ids), [self.tokens(text) for text in texts if text[0] != _NO_TEXT]
            right.append(written in wanted)
            own, others = fillers_of(written), [fillers_of(text) for text in wanted]
            for role in sorted(set().union(*others)):
                fillers.append(own.get(role, ""))
                references.append([other[role] for other in others if role in other])
        return {
            "cider": cider(fillers, references),
            "exact_match": float(np.mean(right)),
            "events": float(len(right)),
        }

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Tokens of ids up to the first end; those outside the vocabulary get names of their own."""
        found = []
        for token in ids:
            if token in (END, _NO_TEXT):
                break
            found.append(self.words[token - 1] if token <= len(self.words) else f"unknown{token}")
        return found


def tokens_of(event: Event) -> list[str]:
    """Each role with its colon, and its filler's words."""
    return [token for role, filler in event.roles for token in (f"{role}:", *filler.split())]


def fillers_of(tokens: Sequence[str]) -> dict[str, str]:
    """Fillers by role; of a role that comes twice the first one, and words before any role are nobody's."""
    found: dict[str, list[str]] = {}
    filler: list[str] = []
    for token in tokens:
        if token.endswith(":"):
            filler = []
            found.setdefault(token[:-1], filler)
        else:
            filler.append(token)
    return {role: " ".join(words) for role, words in found.items()}


def _by_frequency(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


def _references(annotations: Sequence[Annotation]) -> dict[tuple[int, str], list[list[str]]]:
    """Texts by event and verb, in order of events, each text once."""
    found: dict[tuple[int, str], list[list[str]]] = {}
    for number, annotation in product(range(EVENTS), annotations):
        event = annotation.events[number]
        if event is not None and event.roles:
            texts = found.setdefault((number, event.verb), [])
            tokens = tokens_of(event)
            if tokens not in texts:
                texts.append(tokens)
    return found


def _ids(texts: Sequence[Sequence[str]], words: Mapping[str, int], most: int | None) -> NDArray[np.int64]:
    """Ids (texts, longest), END behind a text; a word outside the vocabulary has an id of its own above the others."""
    texts = [text[:most] for text in texts]
    found = np.full((len(texts), max(map(len, texts))), END, np.int64)
    for own, text in zip(found, texts, strict=True):
        own[: len(text)] = [words.get(token) or len(words) + 1 + zlib.crc32(token.encode()) for token in text]
    return found


def _parts(inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shots, which of them are there, and the verb of what ``read`` gave."""
    return inputs[..., :-2], inputs[..., -2] > 0, inputs[:, 0, -1].long()


def _decoder(model: nn.Module) -> RoleDecoder:
    assert isinstance(model, RoleDecoder)
    return model
