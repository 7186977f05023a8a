"""The weights at the ends of epochs: the best one's, and the mean of the last."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

AVERAGED = 3  # the mean of up to so many last epochs' weights is tried beside the best epoch's

Weights = dict[str, torch.Tensor]


class EpochWeights:
    """Files in the folder of a run's checkpoints; of all but the last epochs only the best one's stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, epoch: int, weights: Weights, best: bool) -> None:
        """Write the weights at the end of an epoch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, self._file(epoch))
        self._file(epoch - AVERAGED).unlink(missing_ok=True)
        if best:
            shutil.copyfile(self._file(epoch), self.folder / "best.safetensors")

    def best(self) -> Weights:
        """The best epoch's."""
        return load_file(self.folder / "best.safetensors")

    def mean(self, last: int, count: int) -> Weights:
        """Mean of the ``count`` epochs up to ``last`` (Izmailov et al. 2018, "Averaging weights leads to wider optima")."""
        parts = [load_file(self._file(epoch)) for epoch in range(last - count + 1, last + 1)]
        return {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]}

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch{epoch}.safetensors"
