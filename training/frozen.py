"""Frozen bottom layers: computed once for every window and kept, so that an epoch costs only the layers above.

The lower layers of a pre-trained encoder change least in fine-tuning (Lee et al. 2019, "What would Elsa do?"); with 8 of 12
frozen a step on a CPU takes less than half the time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import nn
from tqdm import tqdm

from serving.windows import Window, pad_tokens, plan_batches

MAX_KEPT_BYTES = 6 << 30  # beyond this the frozen layers are computed anew at each step


class _Passthrough(nn.Module):
    """Stands where embeddings stood: the states are there already."""

    def forward(self, inputs_embeds: torch.Tensor, **_: object) -> torch.Tensor:
        return inputs_embeds


def split_encoder(encoder: nn.Module, layers: int) -> tuple[nn.Module, nn.Module]:
    """The bottom ``layers`` with the embeddings, and the layers above; both share the encoder's own parameters.

    Raises:
        ValueError: the encoder is not built like BERT (embeddings, then ``encoder.layer``), or has not so many layers.
    """
    stack = getattr(getattr(encoder, "encoder", None), "layer", None)
    if not isinstance(stack, nn.ModuleList) or not hasattr(encoder, "embeddings") or not 0 < layers < len(stack):
        raise ValueError(f"--freeze {layers}: this encoder is not built like BERT, or has not more than {layers} layers")
    bottom, top = _with_layers(encoder, stack[:layers]), _with_layers(encoder, stack[layers:])
    top.embeddings = _Passthrough()
    if hasattr(top, "embeddings_project"):  # ELECTRA's, between embeddings and layers
        top.embeddings_project = nn.Identity()
    return bottom, top


def freeze(encoder: nn.Module, layers: int) -> None:
    """Take all but the layers above the bottom ones out of training.

    Raises:
        ValueError: as ``split_encoder``, or bottom and top in turn don't give what the encoder gives.
    """
    bottom, top = split_encoder(encoder, layers)
    ids = torch.arange(5, 13).reshape(2, 4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    was_training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad():
            whole = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            states = bottom(input_ids=ids, attention_mask=mask).last_hidden_state
            parts = top(inputs_embeds=states, attention_mask=mask).last_hidden_state
        same = torch.allclose(whole[mask > 0], parts[mask > 0], rtol=1e-3, atol=1e-4)
    except Exception:  # each encoder that is built otherwise fails in its own way
        same = False
    finally:
        encoder.train(was_training)
    if not same:
        raise ValueError(f"--freeze {layers}: this encoder's layers can't be run in two parts; use --freeze 0")
    learning = {id(parameter) for parameter in top.encoder.layer.parameters()}
    for parameter in encoder.parameters():
        parameter.requires_grad_(id(parameter) in learning)


def _with_layers(encoder: nn.Module, layers: nn.ModuleList) -> nn.Module:
    model, stack = _shallow(encoder), _shallow(encoder.encoder)
    stack.layer = layers
    model.encoder = stack
    return model


def _shallow(module: nn.Module) -> nn.Module:
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


class FrozenStates:
    """Outputs of the frozen layers by window, in bf16: [tokens, hidden] each."""

    def __init__(self, bottom: nn.Module, hidden: int, pad: int, device: torch.device, cast: Callable[[], object]) -> None:
        self.bottom, self.hidden, self.pad, self.device, self.cast = bottom, hidden, pad, device, cast
        self._kept: dict[int, torch.Tensor] = {}

    @torch.no_grad()
    def keep(self, windows: Sequence[Window], max_tokens: int, progress: bool) -> None:
        """Compute and keep the states of all windows, in an order that depends on them alone; or none, if they are too many."""
        windows = [window for window in windows if id(window) not in self._kept]
        tokens = sum(len(window.token_ids) for window in windows)
        if not windows or tokens * self.hidden * 2 > MAX_KEPT_BYTES:
            return
        bar = tqdm(total=tokens, desc="frozen layers", unit="tok", unit_scale=True, disable=not progress, mininterval=1)
        for group in plan_batches(windows, max_tokens):
            chosen = [windows[i] for i in group]
            states = self._compute(chosen, max(len(window.token_ids) for window in chosen))
            for window, row in zip(chosen, states):
                self._kept[id(window)] = row[: len(window.token_ids)].cpu().clone()
            bar.update(sum(len(window.token_ids) for window in chosen))
        bar.close()

    def forget(self) -> None:
        """Free the memory of what is kept."""
        self._kept.clear()

    @torch.no_grad()
    def of(self, windows: Sequence[Window], length: int) -> torch.Tensor:
        """States of the windows of a batch, padded: bf16 [B, length, hidden]."""
        if any(id(window) not in self._kept for window in windows):
            return self._compute(windows, length)
        batch = torch.zeros(len(windows), length, self.hidden, dtype=torch.bfloat16)
        for row, window in enumerate(windows):
            batch[row, : len(window.token_ids)] = self._kept[id(window)]
        return batch.to(self.device)

    def _compute(self, windows: Sequence[Window], length: int) -> torch.Tensor:
        ids, mask = (torch.from_numpy(array).to(self.device) for array in pad_tokens(windows, length, self.pad))
        with self.cast():
            states = self.bottom(input_ids=ids, attention_mask=mask).last_hidden_state
        return states.bfloat16()
