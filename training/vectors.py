"""What the heads see of a document: a vector for each sentence, from an encoder whose weights are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from serving.windows import Window, collate, plan_batches
from training.examples import Example, flat_windows
from training.frozen import FrozenStates, split_encoder
from training.network import merge_pieces
from training.passes import MAX_FORWARD_TOKENS, SHAPE_STEP

_GROUP = 64  # documents at a time


@dataclass(frozen=True)
class Vectors:
    """Of one document: ``rows`` float32 [title and sentences, 2 H], a sentence's mean beside its window's; ``titles`` is how many
    of the rows (0 or 1) are the title."""

    rows: np.ndarray
    titles: int


class Body:
    """An encoder whose bottom layers stay as they are, and are computed once for each window."""

    def __init__(self, encoder: nn.Module, freeze: int, pad: int, accelerator: Accelerator) -> None:
        self.encoder, self.freeze, self.pad, self.accelerator = encoder.to(accelerator.device), freeze, pad, accelerator
        self.frozen: FrozenStates | None = None
        if freeze:
            bottom, self.top = split_encoder(encoder, freeze)
            self.frozen = FrozenStates(bottom, encoder.config.hidden_size, pad, accelerator.device, accelerator.autocast)
        self._first = {name: tensor.clone() for name, tensor in encoder.named_parameters() if tensor.requires_grad}

    def keep(self, examples: Sequence[Example]) -> None:
        """Compute the frozen layers of these documents now."""
        if self.frozen is not None:
            self.frozen.keep([w for _, w in flat_windows(examples)], MAX_FORWARD_TOKENS, self.accelerator.is_main_process)

    @torch.no_grad()
    def reset(self) -> None:
        """The weights as they came."""
        for name, tensor in self.encoder.named_parameters():
            if name in self._first:
                tensor.copy_(self._first[name])

    def states(self, windows: Sequence[Window], ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The encoder's last states of a batch, [B, L, H]."""
        with self.accelerator.autocast():
            if self.frozen is None:
                return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            below = self.frozen.of(windows, ids.shape[1]).float()
            return self.top(inputs_embeds=below, attention_mask=mask).last_hidden_state.float()

    @torch.no_grad()
    def vectors(self, examples: Sequence[Example]) -> list[Vectors]:
        """Of each document."""
        self.encoder.eval()
        order = sorted(range(len(examples)), key=lambda i: examples[i].tokens)
        found: dict[int, Vectors] = {}
        for start in range(0, len(order), _GROUP):
            group = order[start : start + _GROUP]
            found.update(zip(group, self._vectors([examples[i] for i in group])))
        return [found[i] for i in range(len(examples))]

    def _vectors(self, examples: Sequence[Example]) -> list[Vectors]:
        flat, features = list(flat_windows(examples)), [example.features for example in examples]
        pieces, owners = [], []
        for group in plan_batches([window for _, window in flat], MAX_FORWARD_TOKENS):
            batch = collate([flat[i] for i in group], features, self.pad, SHAPE_STEP)
            arrays = (batch.input_ids, batch.attention_mask, batch.piece_mask)
            ids, mask, piece_mask = (torch.from_numpy(array).to(self.accelerator.device) for array in arrays)
            states = self.states([flat[i][1] for i in group], ids, mask)
            vectors, window = torch.bmm(piece_mask, states), window_means(states, mask).unsqueeze(1)
            both = torch.cat([vectors, window.expand_as(vectors)], dim=-1)
            pieces.append(both[[o[0] for o in batch.owners], [o[1] for o in batch.owners]].cpu())
            owners.extend((o[2], o[3]) for o in batch.owners)
        merged = merge_pieces(torch.cat(pieces), owners)
        return [Vectors(torch.cat(merged[i]).numpy(), len(merged[i][0])) for i in range(len(examples))]


def window_means(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of each window's states: [B, L, H], [B, L] -> [B, H]."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
