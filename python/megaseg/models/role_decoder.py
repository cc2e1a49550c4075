"""A small decoder of texts about an event: pre-norm transformer layers with cross-attention over the event's shots."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

END = 0  # token id that ends a text and fills up behind its end


class RoleDecoder(nn.Module):
    """Writes a text, token by token, for a verb and the shots of an event.

    Args:
        width: E, of the shots' embeddings.
        verbs: number of verbs.
        words: number of tokens, END among them.
        longest: most tokens of a text, END not counted.
        size: C, of the hidden states, a multiple of ``heads``.
        dropout: of hidden states.
    """

    def __init__(
        self,
        width: int,
        verbs: int,
        words: int,
        longest: int,
        size: int,
        dropout: float,
        *,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self._longest = longest
        self.shots = nn.Linear(width, size)
        self.shots_norm = nn.LayerNorm(size)
        self.verb = nn.Embedding(verbs, size)
        self.word = nn.Embedding(words, size)
        self.position = nn.Embedding(longest + 1, size)
        layer = nn.TransformerDecoderLayer(
            size, heads, 4 * size, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, layers, nn.LayerNorm(size))
        self.head = nn.Linear(size, words)
        for table in (self.verb, self.word, self.position):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, shots: Tensor, there: Tensor, verb: Tensor, words: Tensor) -> Tensor:
        """Logits (batch, t + 1, words) of the next token after the verb and after each of ``words``.

        Args:
            shots: (batch, n, E); ``there`` (batch, n) bool is False where a row fills up.
            verb: ids (batch,).
            words: ids (batch, t), t <= longest.
        """
        logits: Tensor = self.head(self._hidden(shots, there, verb, words))
        return logits

    def _hidden(self, shots: Tensor, there: Tensor, verb: Tensor, words: Tensor) -> Tensor:
        """Hidden states (batch, t + 1, C)."""
        memory = self.shots_norm(self.shots(shots))
        hidden = torch.cat([self.verb(verb)[:, None], self.word(words)], dim=1)
        hidden = hidden + self.position.weight[: hidden.shape[1]]
        future = torch.ones(hidden.shape[1], hidden.shape[1], dtype=torch.bool, device=hidden.device).triu(1)
        read: Tensor = self.layers(hidden, memory, tgt_mask=future, memory_key_padding_mask=~there)
        return read

    def loss(self, shots: Tensor, there: Tensor, verb: Tensor, words: Tensor) -> Tensor:
        """Cross entropy of each token and of the END behind them, mean over tokens.

        ``words`` (batch, t) have END behind the end of each text.
        """
        logits = self(shots, there, verb, words)
        wanted = functional.pad(words, (0, 1), value=END)
        first_end = (wanted == END).cumsum(1) <= 1  # a text's tokens and its first END
        return functional.cross_entropy(logits[first_end], wanted[first_end])

    @torch.no_grad()
    def greedy(self, shots: Tensor, there: Tensor, verb: Tensor) -> Tensor:
        """Texts (batch, longest), the likeliest token at each place (the first of equals), END behind the end."""
        words = torch.zeros(len(shots), 0, dtype=torch.long, device=shots.device)
        ended = torch.zeros(len(shots), dtype=torch.bool, device=shots.device)
        while words.shape[1] < self._longest and not bool(ended.all()):
            last = self._hidden(shots, there, verb, words)[:, -1]
            token = torch.where(ended, END, self.head(last).argmax(1))
            ended |= token == END
            words = torch.cat([words, token[:, None]], dim=1)
        return functional.pad(words, (0, self._longest - words.shape[1]), value=END)
