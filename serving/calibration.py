"""Logits -> probabilities, with the numbers that training fitted on held-out documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), for any finite x."""
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


@dataclass(frozen=True)
class Calibration:
    """``slope`` weighs the network's logits, ``lexicon`` the lexicon's, ``offsets`` [T] are added a topic."""

    slope: float
    lexicon: float
    offsets: np.ndarray

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Calibration:
        """From a model's ``config.json``."""
        return cls(float(config["slope"]), float(config["lexicon"]), np.asarray(config["offsets"], dtype=np.float32))

    def to_config(self) -> dict[str, Any]:
        """For a model's ``config.json``."""
        return {"slope": self.slope, "lexicon": self.lexicon, "offsets": [float(x) for x in self.offsets]}

    def probabilities(self, logits: np.ndarray, lexical: np.ndarray | None, single_label: bool) -> np.ndarray:
        """Logits [..., T] of the network and, where there is one, of the lexicon -> probabilities [..., T]."""
        scaled = logits * np.float32(self.slope) + self.offsets
        if lexical is not None:
            scaled = scaled + lexical * np.float32(self.lexicon)
        if single_label:
            exp = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
            return exp / exp.sum(axis=-1, keepdims=True)
        return sigmoid(scaled)
