"""Weights at the ends of epochs."""

from __future__ import annotations

from pathlib import Path

import torch

from training.weights import AVERAGED, EpochWeights


def test_the_best_and_the_mean_of_the_last(tmp_path: Path) -> None:
    weights = EpochWeights(tmp_path / "new")
    for epoch, value in enumerate([1.0, 5.0, 2.0, 4.0, 9.0]):
        weights.keep(epoch, {"a": torch.tensor([value, -value])}, best=value == 5.0)
    assert weights.best()["a"].tolist() == [5.0, -5.0]
    assert weights.mean(4, 2)["a"].tolist() == [6.5, -6.5] and weights.mean(4, 3)["a"].tolist() == [5.0, -5.0]
    assert len(list((tmp_path / "new").iterdir())) == AVERAGED + 1, "older epochs are not kept"
