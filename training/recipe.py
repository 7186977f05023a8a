"""Defaults that follow the data: how many documents a step, and how many epochs.

One recipe has to serve 50 long documents and 50,000 headlines. Short documents go through in larger batches, since a step
costs about the same whether it holds 300 tokens or 3,000; epochs are such that a run has about as many steps whatever the
size of the data, within bounds.
"""

from __future__ import annotations

from serving.settings import ROOT

ENCODER = str(ROOT / "models" / "encoder")

LEARNING_RATE = 2e-4  # of the encoder's top layer; the heads start from nothing and learn ten times as fast
HEAD_FACTOR = 10.0
LAYER_DECAY = 0.8
_STEPS = 2_400  # of a run
_EPOCHS = (4, 20)
_FREEZE = (6, 2 / 3)  # of encoders with so many layers and more, this share learns nothing
_BATCH = (16, 64)  # documents
_BATCH_TOKENS = 2_560


def default_batch_size(tokens: int, documents: int) -> int:
    """Documents a step: as many as hold some 2,560 tokens, 16 to 64, in powers of two."""
    fitting = _BATCH_TOKENS * documents / max(tokens, 1)
    size = _BATCH[0]
    while size * 2 <= min(fitting, _BATCH[1]):
        size *= 2
    return size


def default_epochs(documents: int, batch_size: int) -> int:
    """Epochs of about 2,400 steps together, 4 to 20."""
    steps = -(-documents // batch_size)
    return min(max(-(-_STEPS // max(steps, 1)), _EPOCHS[0]), _EPOCHS[1])


def default_freeze(layers: int) -> int:
    """Bottom layers that stay as they are: the upper third learns as much as all in a third of the time (DuEE, see the card)."""
    return int(layers * _FREEZE[1]) if layers >= _FREEZE[0] else 0
