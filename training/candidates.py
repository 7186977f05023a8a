"""The recipes that few labels choose from: what each learns from some rows, and says of others.

``linear``: the encoder stays as it is, with linear heads on its vectors. ``contrastive``: before that the upper layers learn from
pairs. ``full``: upper layers and heads are trained together, as with many labels. Beside each stands a lexicon.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate.utils import set_seed
from torch import nn

from serving.windows import WindowConfig
from training.contrastive import tune
from training.examples import Example, trim
from training.heads import Heads, fit_salience, fit_topics, pooled_logits
from training.lexicon import fit_lexicon, lexical_logits
from training.loop import Loop, LoopConfig
from training.network import Network, start_context, start_heads
from training.passes import Prediction
from training.recipe import HEAD_FACTOR, LAYER_DECAY, LEARNING_RATE, default_batch_size, default_epochs
from training.selftraining import ROUNDS, judged
from training.vectors import Body, Vectors

_PENALTIES = (0.1, 0.3, 1.0, 3.0)  # of linear heads; the best of 0.01 to 10 was always among them
_SELF_PENALTIES = {True: 3.0, False: 0.1}  # with self-training, by whether each document has one topic
SELF_TRAINING = "self-training"  # the setting of linear heads that learn from documents without labels, too
_CHOICES = 5  # numbers of epochs that are compared
_WINDOWS = 4  # of each document, to learn from by ``full``: what a table of many rows learns from too

Words = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """What was said of documents: predictions of the network, and logits [T] of the lexicon or None."""

    predictions: list[Prediction]
    lexical: list[np.ndarray | None]


@dataclass(frozen=True)
class Material:
    """What all recipes share. ``lexicon`` says whether there is one, ``bare`` are documents without labels, or none; ``heads``
    are those of the model folder that training goes on from, if it does, and ``old`` its topics. ``shares`` [T] are those of
    ``bare`` that have each topic; None: as many as of the rows with labels."""

    body: Body
    windows: WindowConfig
    ids: list[str]
    single_label: bool
    dropout: float
    seed: int
    lexicon: bool
    bare: list[Example]
    heads: dict[str, torch.Tensor]
    old: list[str]
    shares: np.ndarray | None = None

    @property
    def topics(self) -> int:
        """Their number."""
        return len(self.ids)

    def network(self) -> Network:
        """A new one, on the encoder as it is now."""
        set_seed(self.seed)
        network = Network(self.body.encoder, self.topics, self.dropout)
        if self.heads:
            start_heads(network, self.heads, self.old, self.ids)
        return network

    def words(self, learned: Sequence[Example]) -> Words | None:
        """The lexicon of these rows."""
        special = self.windows.cls, self.windows.sep, self.windows.pad
        vocabulary = self.body.encoder.config.vocab_size
        return fit_lexicon(learned, vocabulary, self.topics, special) if self.lexicon else None


class Recipe(Protocol):
    """A way to learn. ``settings`` are numbers or names that it leaves to be chosen, best guess first."""

    name: str

    def trial(self, learned: Sequence[Example], held: Sequence[Example]) -> dict[str, Verdict]:
        """Learn from some rows; what each setting says of others."""

    def fit(self, learned: Sequence[Example], setting: str) -> tuple[Network, Words | None]:
        """Learn from all rows."""


class Linear:
    """Linear heads on the vectors of the encoder as it came."""

    name = "linear"
    _tunes = False

    def __init__(self, material: Material) -> None:
        self.material = material
        self._known: dict[int, tuple[Example, Vectors]] = {}

    def trial(self, learned: Sequence[Example], held: Sequence[Example]) -> dict[str, Verdict]:
        """By penalty, and with self-training where there are documents without labels."""
        self._prepare(learned)
        own, others = self._vectors(learned), self._vectors(held)
        salience = self._salience(learned, own)
        words = lexical_logits(self.material.words(learned), held)
        found = {}
        for penalty in _PENALTIES:
            heads = Heads(*self._topics(learned, own, penalty), salience)
            found[f"penalty {penalty:g}"] = Verdict(heads.predict(held, others), words)
        if self.material.bare and any(example.topics is not None and example.topics.any() for example in learned):
            *topics, taught = self._self_taught(learned, own)
            found[SELF_TRAINING] = Verdict(Heads(*topics, salience).predict(held, others), lexical_logits(taught, held))
        return found

    def judge(self, learned: Sequence[Example], penalty: str, others: Sequence[Example]) -> Verdict:
        """Learn from some rows by the setting of this name; what that says of others."""
        self._prepare(learned)
        own = self._vectors(learned)
        heads = Heads(*self._topics(learned, own, float(penalty.split()[1])), self._salience(learned, own))
        return Verdict(heads.predict(others, self._vectors(others)), lexical_logits(self.material.words(learned), others))

    def fit(self, learned: Sequence[Example], setting: str) -> tuple[Network, Words | None]:
        """The network with the heads in it, and the lexicon."""
        self._prepare(learned)
        own = self._vectors(learned)
        if setting == SELF_TRAINING:
            *topics, words = self._self_taught(learned, own)
        else:
            topics, words = self._topics(learned, own, float(setting.split()[1])), self.material.words(learned)
        heads, network = Heads(*topics, self._salience(learned, own)), self.material.network()
        heads.put_into(network)
        if not self._tunes and not any(example.salience is not None for example in learned):
            start_context(network, self.material.heads)
        return network, words

    def _prepare(self, learned: Sequence[Example]) -> None:
        """The encoder stays as it is."""
        self.material.body.reset()

    def _vectors(self, examples: Sequence[Example]) -> list[Vectors]:
        missing = [example for example in examples if id(example) not in self._known]
        for example, vectors in zip(missing, self.material.body.vectors(missing)):
            self._known[id(example)] = example, vectors  # with the example, whose id would else be given again
        return [self._known[id(example)][1] for example in examples]

    def _topics(
        self, learned: Sequence[Example], vectors: Sequence[Vectors], penalty: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return fit_topics(learned, vectors, penalty, self.material.single_label, self.material.topics)

    def _salience(self, learned: Sequence[Example], vectors: Sequence[Vectors]) -> nn.Module:
        return fit_salience(learned, vectors, self.material.network().salience_head)

    def _self_taught(
        self, learned: Sequence[Example], own: Sequence[Vectors]
    ) -> tuple[torch.Tensor, torch.Tensor, Words | None]:
        material = self.material
        bare, others = material.bare, self._vectors(material.bare)
        shares = material.shares
        if shares is None:
            shares = np.mean([e.topics for e in learned if e.topics is not None], axis=0)
        rows, vectors, words = list(learned), list(own), material.words(learned)
        weight, bias = self._topics(rows, vectors, 1.0)
        for _ in range(ROUNDS[material.single_label]):
            logits = np.stack([pooled_logits(one, weight, bias) for one in others])
            lexical = np.stack(lexical_logits(words, bare)) if words is not None else None
            sure = judged(bare, logits, lexical, shares, material.single_label)
            rows, vectors = [*learned, *(e for _, e in sure)], [*own, *(others[i] for i, _ in sure)]
            (weight, bias), words = self._topics(rows, vectors, _SELF_PENALTIES[material.single_label]), material.words(rows)
        return weight, bias, words


class Contrastive(Linear):
    """The same once the upper layers have learned from pairs."""

    name = "contrastive"
    _tunes = True

    def _prepare(self, learned: Sequence[Example]) -> None:
        self._known.clear()
        self.material.body.reset()
        tune(self.material.body, learned, self.material.seed)


class Full:
    """Upper layers and heads together, by the loop that many rows are trained by."""

    name = "full"

    def __init__(self, material: Material) -> None:
        self.material = material
        self._plan: tuple[int, int] | None = None  # batch size and epochs: the first fold's, or folds have no setting in common

    def trial(self, learned: Sequence[Example], held: Sequence[Example]) -> dict[str, Verdict]:
        """By number of epochs."""
        loop, trimmed = self._loop(learned)
        epochs = loop.config.epochs
        found = loop.run_short(trimmed, held, epochs)
        lexical = lexical_logits(self.material.words(learned), held)
        chosen = sorted({round(epochs * (i + 1) / _CHOICES) for i in range(_CHOICES)} - {0}, reverse=True)
        return {f"{n} of {epochs} epochs": Verdict(found[n - 1], lexical) for n in chosen}

    def fit(self, learned: Sequence[Example], setting: str) -> tuple[Network, Words | None]:
        """As many epochs as the setting says."""
        loop, trimmed = self._loop(learned)
        loop.run_short(trimmed, [], int(setting.split()[0]))
        return loop.raw, self.material.words(learned)

    def _loop(self, learned: Sequence[Example]) -> tuple[Loop, list[Example]]:
        material, body = self.material, self.material.body
        body.reset()
        trimmed = [trim(example, _WINDOWS, material.seed) for example in learned]
        if self._plan is None:
            size = default_batch_size(sum(example.tokens for example in trimmed), len(trimmed))
            self._plan = size, default_epochs(len(trimmed), size)
        size, epochs = self._plan
        settings = LoopConfig(
            epochs=epochs, learning_rate=LEARNING_RATE,
            head_learning_rate=LEARNING_RATE * HEAD_FACTOR, batch_size=size, seed=material.seed,
            single_label=material.single_label, freeze=body.freeze, layer_decay=LAYER_DECAY, checkpoint_every=10**9,
        )
        body.accelerator.free_memory()  # which else keeps the network and optimizer of every fold
        with tempfile.TemporaryDirectory() as folder:  # where checkpoints would lie; none are written
            loop = Loop(material.network(), body.pad, settings, body.accelerator, Path(folder), body.frozen)
        torch.manual_seed(material.seed)
        return loop, trimmed
