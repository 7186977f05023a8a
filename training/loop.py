"""The training loop: batches of whole documents, two losses, dev score, early stopping, exact resumption.

On top of Hugging Face Accelerate, so ``torchrun`` and ``accelerate launch`` work; every process takes its part of each
batch. Gradients are summed over processes here and not by DistributedDataParallel, which allows neither several forward
passes a step, nor heads that a batch's rows don't teach, nor a process without a row. Batches are a function of seed and
epoch, so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm
from transformers import get_linear_schedule_with_warmup

from training.checkpoints import Checkpoints
from training.devices import fastest_attention
from training.encoder import layer_groups
from training.examples import Example, epoch_batches, flat_windows
from training.frozen import FrozenStates, split_encoder
from training.losses import document_loss
from training.network import Network
from training.passes import MAX_FORWARD_TOKENS, MAX_KEPT_TOKENS, Passes, Prediction
from training.weights import AVERAGED, EpochWeights


@dataclass(frozen=True)
class LoopConfig:
    """Settings of a run; see ``training/train.py`` for what each is good for."""

    epochs: int
    learning_rate: float
    head_learning_rate: float
    batch_size: int
    seed: int
    single_label: bool
    freeze: int = 0
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    warmup: float = 0.1
    patience: int = 3
    max_forward_tokens: int = MAX_FORWARD_TOKENS
    max_kept_tokens: int = MAX_KEPT_TOKENS
    checkpoint_every: int = 200


Score = Callable[[Sequence[Example], Sequence[Prediction]], float]


class Loop:
    """Trains a network; ``run`` leaves the best weights in it."""

    passes_type = Passes

    def __init__(
        self, network: Network, pad: int, config: LoopConfig, accelerator: Accelerator, folder: Path,
        frozen: FrozenStates | None = None,
    ) -> None:
        """``frozen`` are states that outlive this run: of the encoder's bottom layers, as many as ``config.freeze``."""
        self.config, self.accelerator = config, accelerator
        self.checkpoints, self.weights = Checkpoints(folder, accelerator), EpochWeights(folder)
        heads = [p for name, p in network.named_parameters() if not name.startswith("encoder.")]
        groups = [*layer_groups(network.encoder, config.learning_rate, config.layer_decay)]
        groups.append({"params": heads, "lr": config.head_learning_rate})
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
        self.raw = network
        prepared = accelerator.prepare_model(network, evaluation_mode=True)  # placed and kept in checkpoints, not distributed
        # Without the autocast that Accelerate puts into ``forward``: exports and exact predictions would be cast too.
        self.network = accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self.passes = self.passes_type(self.network, pad, accelerator, config.max_forward_tokens, config.max_kept_tokens)
        self.shared = frozen is not None
        if config.freeze:
            bottom, top = split_encoder(self.network.encoder, config.freeze)
            hidden = network.encoder.config.hidden_size
            self.passes.go_on_from(frozen or FrozenStates(bottom, hidden, pad, accelerator.device, accelerator.autocast), top)

    def run(self, train: Sequence[Example], dev: Sequence[Example], score: Score, *, resume: bool, name: str) -> dict:
        """Train until the dev score has not risen for ``patience`` epochs. Returns the history."""
        config, acc = self.config, self.accelerator
        self._plan(train)
        acc.register_for_checkpointing(self.schedule)
        state = {
            "name": name, "processes": acc.num_processes, "epoch": 0, "step": 0, "best": -1.0, "best_epoch": -1, "loss": 0.0,
            "history": [], "averaged": 1,
        }
        if resume:
            state = self.checkpoints.restore(state)
        with self._fast([*train, *dev]):
            while state["epoch"] < config.epochs and state["epoch"] - state["best_epoch"] <= config.patience:
                steps = self._epoch(train, state)
                epoch, loss, predictions = state["epoch"], state["loss"] / steps, self.passes.predict(dev)
                if not all(np.isfinite(p.sentences).all() for p in predictions):
                    raise ValueError(f"the network's scores are not finite after epoch {epoch + 1}; try a lower --learning-rate")
                value = score(dev, predictions)
                state["history"].append({"epoch": epoch + 1, "loss": round(loss, 5), "dev": round(value, 5)})
                acc.print(f"epoch {epoch + 1}: loss {loss:.4f}, dev score {value:.4f}")
                better = value > state["best"]
                if better:
                    state.update(best=value, best_epoch=epoch)
                if acc.is_main_process:
                    self.weights.keep(epoch, self.raw.state_dict(), better)
                state.update(epoch=epoch + 1, step=0, loss=0.0)
                self.checkpoints.save(state)
            acc.wait_for_everyone()
            self._load_best(dev, score, state)
        return state

    def run_short(self, train: Sequence[Example], held: Sequence[Example], epochs: int) -> list[list[Prediction]]:
        """Train for so many of the planned epochs, with neither dev score nor checkpoints, which would take longer than little
        data does. Returns what each epoch predicts of ``held``."""
        self._plan(train)
        found = []
        with self._fast([*train, *held]):
            for epoch in range(epochs):
                self._epoch(train, {"epoch": epoch, "step": 0, "loss": 0.0, "best": -1.0, "best_epoch": -1})
                found.append(self.passes.predict(held))
        return found

    def _plan(self, train: Sequence[Example]) -> None:
        """The learning rate's way over all epochs."""
        config, steps = self.config, math.ceil(len(train) / self.config.batch_size)
        self.schedule = get_linear_schedule_with_warmup(
            self.optimizer, round(config.warmup * steps * config.epochs), steps * config.epochs
        )

    @contextmanager
    def _fast(self, examples: Sequence[Example]) -> Iterator[None]:
        """With the frozen layers' outputs at hand, and the attention that trains fastest here."""
        acc, encoder = self.accelerator, self.raw.encoder
        windows = [window for _, window in flat_windows(examples)]
        frozen = self.passes.frozen
        if frozen is not None:
            frozen.keep(windows, self.config.max_forward_tokens, acc.is_main_process)
        with fastest_attention(encoder, acc.device, max(len(window.token_ids) for window in windows)):
            yield
        if frozen is not None and not self.shared:
            frozen.forget()

    def _epoch(self, train: Sequence[Example], state: dict) -> int:
        """The steps of an epoch that are left; returns how many an epoch has."""
        epoch = state["epoch"]
        batches = epoch_batches(train, self.config.batch_size, self.config.seed, epoch)
        bar = tqdm(
            total=len(batches), initial=state["step"], desc=f"epoch {epoch + 1}/{self.config.epochs}", unit="step",
            disable=not self.accelerator.is_main_process, mininterval=1,
        )
        self.network.train()
        for step in range(state["step"], len(batches)):
            mine = batches[step][self.accelerator.process_index :: self.accelerator.num_processes]
            loss = self._step([train[i] for i in mine], len(batches[step]))
            if not math.isfinite(loss):
                raise ValueError(f"the loss is {loss} at epoch {epoch + 1}, step {step + 1}; try a lower --learning-rate")
            state["loss"] += loss
            state["step"] = step + 1
            best = f"{state['best']:.4f}" if state["best_epoch"] >= 0 else "–"
            bar.set_postfix(loss=f"{state['loss'] / (step + 1):.4f}", dev=best, refresh=False)
            bar.update()
            if (step + 1) % self.config.checkpoint_every == 0 and step + 1 < len(batches):
                self.checkpoints.save(state)
        bar.close()
        return len(batches)

    def _load_best(self, dev: Sequence[Example], score: Score, state: dict) -> None:
        """The best epoch's weights, or the mean of the last epochs' where that is better on the dev part."""
        best = self.weights.best()
        for count in range(2, min(AVERAGED, state["epoch"]) + 1):
            mean = self.weights.mean(state["epoch"] - 1, count)
            self.raw.load_state_dict(mean)
            value = score(dev, self.passes.predict(dev))
            self.accelerator.print(f"mean of the last {count} epochs: dev score {value:.4f}")
            if value > state["best"]:
                state.update(best=value, averaged=count)
                best = mean
        self.raw.load_state_dict(best)

    def _step(self, examples: Sequence[Example], total: int) -> float:
        """One optimizer step over this process's part of a batch of ``total`` documents; returns the batch's mean loss."""
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=self.accelerator.device)
        if examples:  # a last batch may be smaller than the number of processes
            loss = self._losses(examples) / total
            self.accelerator.backward(loss)
        if self.accelerator.num_processes > 1:
            loss = self._sum_over_processes(loss.detach())
        self.accelerator.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())

    def _losses(self, examples: Sequence[Example]) -> torch.Tensor:
        """The sum of the documents' losses."""
        with self.accelerator.autocast():
            outputs = self.passes.outputs(examples)
        return torch.stack([document_loss(e, *output, self.config.single_label) for e, output in zip(examples, outputs)]).sum()

    def _sum_over_processes(self, loss: torch.Tensor) -> torch.Tensor:
        """Sum gradients and the loss; a parameter without gradient here may have one elsewhere."""
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.reshape(1), *(gradient.ravel() for gradient in gradients)])
        flat = self.accelerator.reduce(flat, "sum")
        for parameter, part in zip(parameters, flat[1:].split([p.numel() for p in parameters])):
            parameter.grad = part.view_as(parameter).clone()
        return flat[0]
