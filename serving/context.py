"""What the rest of a document says about a sentence's worth for the summary: one Transformer layer over its sentences.

The network reads windows of a few sentences, so it can't know which sentence of a document says a thing best, or first. This
layer reads a vector of each sentence (and of the title) and corrects the salience of each: the inter-sentence layer of Liu &
Lapata 2019 ("Text summarization with pretrained encoders"). ``training/context.py`` is the same in torch.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

WIDTH, HEADS = 64, 4
BLOCK = 256  # sentences that see one another, so that a book takes no memory by the square of its length
EPSILON = 1e-5
SHAPES = {
    "norm.weight": (WIDTH,), "norm.bias": (WIDTH,), "mix.weight": (3 * WIDTH, WIDTH), "mix.bias": (3 * WIDTH,),
    "out.weight": (WIDTH, WIDTH), "out.bias": (WIDTH,), "norm_up.weight": (WIDTH,), "norm_up.bias": (WIDTH,),
    "up.weight": (2 * WIDTH, WIDTH), "up.bias": (2 * WIDTH,), "down.weight": (WIDTH, 2 * WIDTH), "down.bias": (WIDTH,),
    "last.weight": (WIDTH,), "last.bias": (WIDTH,), "correction.weight": (1, WIDTH), "correction.bias": (1,),
}  # fmt: skip


class Context:
    """The layer, with its weights by the names of ``SHAPES``."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        """Raises ValueError where weights are missing, of another shape, or no numbers."""
        for name, shape in SHAPES.items():
            if name not in weights or weights[name].shape != shape or not np.isfinite(weights[name]).all():
                raise ValueError(f"{name} of the layer over a document's sentences is missing or damaged")
        self._weights = {name: weights[name].astype(np.float32) for name in SHAPES}

    @classmethod
    def load(cls, path: Path) -> Context:
        """From a model folder's file. Numpy multiplies in one thread from then on: the cores are shared out among workers, and
        its own threads cost thirty times the time of the layer, spinning.

        Raises:
            ValueError: it is not such a file.
        """
        threadpool_limits(1, "blas")
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path.name} holds no arrays")
        with np.load(path, allow_pickle=False) as file:
            return cls(dict(file))

    def __call__(self, title: np.ndarray, sentences: np.ndarray) -> np.ndarray:
        """Vectors of the title [0 or 1, WIDTH] and the sentences [N, WIDTH] -> what is added to each one's salience, [N]."""
        parts = [self._block(title, sentences[start:end]) for start, end in blocks(len(sentences))]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _block(self, title: np.ndarray, sentences: np.ndarray) -> np.ndarray:
        rows = np.concatenate([title, sentences])
        mixed = self._linear("mix", self._norm("norm", rows)).reshape(len(rows), 3, HEADS, WIDTH // HEADS)
        query, key, value = mixed.transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(WIDTH // HEADS))
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        seen = (shares / shares.sum(axis=-1, keepdims=True)) @ value
        rows = rows + self._linear("out", seen.transpose(1, 0, 2).reshape(rows.shape))
        rows = rows + self._linear("down", gelu(self._linear("up", self._norm("norm_up", rows))))
        return self._linear("correction", self._norm("last", rows[len(title) :]))[:, 0]

    def _linear(self, name: str, rows: np.ndarray) -> np.ndarray:
        return rows @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, name: str, rows: np.ndarray) -> np.ndarray:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(EPSILON))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def blocks(count: int) -> list[tuple[int, int]]:
    """(start, end) of as few parts as can be, of like size, with at most BLOCK sentences each."""
    parts = math.ceil(count / BLOCK)
    bounds = [round(count * i / parts) for i in range(parts + 1)] if parts else [0]
    return list(zip(bounds, bounds[1:]))


def gelu(x: np.ndarray) -> np.ndarray:
    """By the hyperbolic tangent (Hendrycks & Gimpel 2016), since numpy has no error function."""
    return np.float32(0.5) * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)))
