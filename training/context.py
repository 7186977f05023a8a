"""The layer over a document's sentences of ``serving/context.py`` in torch, to be fitted (``ranking.py``) and exported."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from serving.context import EPSILON, HEADS, WIDTH, blocks

_DROPOUT = 0.2


class Context(nn.Module):
    """``inputs`` is part of the network's graph; the rest, ``serving.context.SHAPES``, sees a document's sentences together."""

    def __init__(self, size: int) -> None:
        """``size`` is that of the salience head's input."""
        super().__init__()
        self.inputs = nn.Linear(size, WIDTH)
        self.norm, self.norm_up, self.last = (nn.LayerNorm(WIDTH, eps=EPSILON) for _ in range(3))
        self.mix, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.correction = nn.Linear(WIDTH, 1)
        self.dropout = nn.Dropout(_DROPOUT)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, rows: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``inputs`` of titles and sentences [B, N, WIDTH], and which of them are there, bool [B, N] -> corrections [B, N]."""
        batch, count, _ = rows.shape
        query, key, value = self.mix(self.norm(rows)).view(batch, count, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, None if mask is None else mask[:, None, None])
        rows = rows + self.dropout(self.out(seen.transpose(1, 2).reshape(rows.shape)))
        rows = rows + self.dropout(self.down(functional.gelu(self.up(self.norm_up(rows)), approximate="tanh")))
        return self.correction(self.last(rows)).squeeze(-1)

    def of_document(self, title: torch.Tensor, sentences: torch.Tensor) -> torch.Tensor:
        """``inputs`` of the title [0 or 1, WIDTH] and the sentences [N, WIDTH] -> corrections [N]."""
        parts = [self(torch.cat([title, sentences[a:b]])[None])[0, len(title) :] for a, b in blocks(len(sentences))]
        return torch.cat(parts) if parts else sentences.new_zeros(0)
