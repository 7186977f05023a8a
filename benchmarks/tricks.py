"""The tricks that ``training_tricks.py`` tries: patches of losses, pooling and steps, and other settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional

from training import losses
from training.examples import Example
from training.loop import Loop
from training.network import Network
from training.passes import Passes
from training.recipe import LEARNING_RATE

FROZEN = 8  # layers


@dataclass(frozen=True)
class Trick:
    """What a run does otherwise: a patch in force meanwhile, another loop, a change of the encoder, settings of the bench."""

    patched: Callable[[], AbstractContextManager] = nullcontext
    loop: type[Loop] = Loop
    prepare: Callable[[torch.nn.Module], None] = lambda encoder: None
    settings: dict[str, Any] = field(default_factory=dict)


def binary_loss(logits: torch.Tensor, target: torch.Tensor, single_label: bool) -> torch.Tensor:
    """Binary cross-entropy, the mean over topics times the root of their number."""
    return functional.binary_cross_entropy_with_logits(logits, target) * len(target) ** 0.5


def focal_loss(
    logits: torch.Tensor, target: torch.Tensor, single_label: bool, positive: float = 2.0, negative: float = 2.0,
    margin: float = 0.0,
) -> torch.Tensor:
    """Lin et al. 2017; with unequal exponents and a margin asymmetric loss (Ridnik et al. 2021)."""
    p = torch.sigmoid(logits)
    shifted = (p - margin).clamp_min(0)
    gain = target * (1 - p) ** positive * functional.logsigmoid(logits)
    gain = gain + (1 - target) * shifted**negative * torch.log((1 - shifted).clamp_min(1e-8))
    return -gain.sum() / len(target) ** 0.5


def pool_mean(self: Network, logits: torch.Tensor) -> torch.Tensor:
    """Mean over sentences."""
    return logits.mean(0)


def pool_top(self: Network, logits: torch.Tensor) -> torch.Tensor:
    """Mean of the three highest."""
    return logits.topk(min(3, len(logits)), dim=0).values.mean(0)


def pool_attention(self: Network, logits: torch.Tensor) -> torch.Tensor:
    """Sentences weighed by a softmax of their scores with a learned sharpness a topic (McFee et al. 2018, "Adaptive pooling")."""
    return (torch.softmax(logits * self.log_sharpness.exp(), dim=0) * logits).sum(0)


class MovedPasses(Passes):
    """Passes whose inputs are kept, or moved."""

    inputs: list[torch.Tensor]
    moves: list[torch.Tensor] | None = None

    def above(self, states: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        """The inputs are noted where they count for a gradient."""
        states = states.float()
        if self.moves is not None:
            states = states + self.moves.pop(0)
        elif torch.is_grad_enabled():
            states.requires_grad_()
            self.inputs.append(states)
        return super().above(states, *rest)


class AdversarialLoop(Loop):
    """FGM (Miyato et al. 2017): each step also learns from the inputs moved against it, each window's by the same distance."""

    passes_type = MovedPasses
    radius = 1.0

    def _losses(self, examples: list[Example]) -> torch.Tensor:
        passes = self.passes
        passes.inputs = []
        (super()._losses(examples) / len(examples)).backward()
        passes.moves = [self.radius * s.grad / (s.grad.norm(dim=(1, 2), keepdim=True) + 1e-8) for s in passes.inputs]
        loss = super()._losses(examples)
        passes.moves = None
        return loss


class TwiceDroppedLoop(Loop):
    """R-Drop (Liang et al. 2021): two passes with other units dropped should agree."""

    weight = 1.0

    def _losses(self, examples: list[Example]) -> torch.Tensor:
        with self.accelerator.autocast():
            passes = [self.passes.outputs(examples) for _ in range(2)]
        total = torch.zeros(())
        for i, example in enumerate(examples):
            pair = [outputs[i] for outputs in passes]
            total = total + sum(losses.document_loss(example, *output, False) for output in pair) / 2
            a, b = (functional.logsigmoid(torch.stack([logits, -logits])) for logits, _ in pair)
            total = total + self.weight * ((a.exp() - b.exp()) * (a - b)).sum() / 2 / len(a[0]) ** 0.5
        return total


def drop_out(encoder: torch.nn.Module, share: float, attention: bool) -> None:
    """Dropout within the layers that learn, on attention weights or on outputs."""
    for layer in encoder.encoder.layer[FROZEN:]:
        for name, module in layer.named_modules():
            if isinstance(module, torch.nn.Dropout) and name.endswith("self.dropout") == attention:
                module.p = share


_loss = partial(partial, patch.object, losses, "topic_loss")
_pool = partial(partial, patch.object, Network, "pool")
TRICKS = {
    "the recipe": Trick(),
    "binary cross-entropy": Trick(_loss(binary_loss)),
    "focal loss": Trick(_loss(focal_loss)),
    "asymmetric loss": Trick(_loss(partial(focal_loss, positive=0.0, negative=4.0, margin=0.05))),
    "mean of the sentences": Trick(_pool(pool_mean)),
    "top 3 sentences": Trick(_pool(pool_top)),
    "attention over sentences": Trick(_pool(pool_attention)),
    "FGM": Trick(loop=AdversarialLoop),
    "R-Drop": Trick(loop=TwiceDroppedLoop),
    "dropout 0.1 in the encoder": Trick(prepare=partial(drop_out, share=0.1, attention=False)),
    "attention dropout 0.1": Trick(prepare=partial(drop_out, share=0.1, attention=True)),
    "same rate for all layers": Trick(settings={"layer_decay": 1.0}),
    "half the learning rate": Trick(settings={"learning_rate": LEARNING_RATE / 2}),
    "twice the learning rate": Trick(settings={"learning_rate": LEARNING_RATE * 2}),
    "no title in the windows": Trick(settings={"title": 0}),
    "windows of 64": Trick(settings={"window": 64}),
    "windows of 256": Trick(settings={"window": 256}),
    "editors' summaries beside": Trick(settings={"summaries": True}),
}
