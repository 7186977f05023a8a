"""Passes of whole documents through the network: what losses are taken of, and what is predicted.

Where the encoder's bottom layers stay as they are, a pass goes on from their outputs, which are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.utils.checkpoint import checkpoint

from serving.windows import collate, plan_batches
from training.examples import Example, flat_windows
from training.frozen import FrozenStates
from training.network import Network, merge_pieces

MAX_FORWARD_TOKENS = 4_096  # of a batch of windows
SHAPE_STEP = 16  # windows are padded to a multiple of it: on a CPU each new size compiles kernels that stay in memory
MAX_KEPT_TOKENS = 24_576  # beyond this many tokens a step recomputes activations instead of keeping them
_GROUP = 32  # documents that are predicted together


@dataclass
class Prediction:
    """Raw network outputs of one document: ``logits`` [T] pooled, ``sentences`` [N, T + 1]."""

    logits: np.ndarray
    sentences: np.ndarray


class Passes:
    """Passes through a network that lies where it computes."""

    def __init__(
        self, network: Network, pad: int, accelerator: Accelerator, max_tokens: int = MAX_FORWARD_TOKENS,
        max_kept_tokens: int = MAX_KEPT_TOKENS,
    ) -> None:
        self.network, self.pad, self.accelerator = network, pad, accelerator
        self.max_tokens, self.max_kept_tokens = max_tokens, max_kept_tokens
        self.frozen: FrozenStates | None = None

    def go_on_from(self, frozen: FrozenStates, top: nn.Module) -> None:
        """Begin above the frozen layers, with ``top``, the encoder's other ones."""
        self.frozen, self._top = frozen, top

    def above(self, states: torch.Tensor, mask: torch.Tensor, piece_mask: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """What ``Network.forward`` gives, from the states of the frozen layers on."""
        top = self._top(inputs_embeds=states.float(), attention_mask=mask).last_hidden_state
        return self.network.heads(top, mask, piece_mask, features)

    def outputs(self, examples: Sequence[Example], exact: bool = False) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each document: pooled logits [T], and the scores of its sentences [N, T + 1]."""
        flat = list(flat_windows(examples))
        recompute = torch.is_grad_enabled() and sum(len(w.token_ids) for _, w in flat) > self.max_kept_tokens
        features = [example.features for example in examples]
        pieces, owners = [], []
        for group in plan_batches([window for _, window in flat], self.max_tokens):
            batch = collate([flat[i] for i in group], features, self.pad, SHAPE_STEP)
            arrays = (batch.input_ids, batch.attention_mask, batch.piece_mask, batch.features)
            ids, *tensors = (torch.from_numpy(array).to(self.accelerator.device) for array in arrays)
            network: Callable[..., torch.Tensor] = self.network
            if self.frozen is not None and not exact:
                ids, network = self.frozen.of([flat[i][1] for i in group], ids.shape[1]), self.above
            scores = checkpoint(network, ids, *tensors, use_reentrant=False) if recompute else network(ids, *tensors)
            rows, columns = [o[0] for o in batch.owners], [o[1] for o in batch.owners]
            pieces.append(scores[rows, columns].float())
            owners.extend((o[2], o[3]) for o in batch.owners)
        merged = merge_pieces(torch.cat(pieces), owners)
        return [self.network.document(*merged[position]) for position in range(len(examples))]

    @torch.no_grad()
    def predict(self, examples: Sequence[Example], exact: bool = False) -> list[Prediction]:
        """Outputs for all examples, on every process; ``exact`` in f32 whatever arithmetic training uses."""
        self.network.eval()
        acc = self.accelerator
        mine = list(range(acc.process_index, len(examples), acc.num_processes))
        mine.sort(key=lambda i: examples[i].tokens)
        found: list[tuple[int, Prediction]] = []
        for start in range(0, len(mine), _GROUP):
            part = mine[start : start + _GROUP]
            with nullcontext() if exact else acc.autocast():
                outputs = self.outputs([examples[i] for i in part], exact)
            found.extend(
                (i, Prediction(logits.cpu().numpy(), sentences.cpu().numpy())) for i, (logits, sentences) in zip(part, outputs)
            )
        if acc.num_processes > 1:
            found = gather_object(found)
        return [prediction for _, prediction in sorted(found, key=lambda pair: pair[0])]
