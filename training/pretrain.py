"""Go on pre-training an encoder on unlabelled text, as a masked language model, and give it the characters that it lacks.

    python -m training.pretrain --text FILE [--text FILE …] --output DIR [--encoder DIR|HUB_ID] [--exclude FILE] [--steps N] …

Files are .parquet, .jsonl(.gz) or .csv with a column ``text`` (and perhaps ``id``, ``title``). The documents are read as in
serving, so navigation and mark-up teach nothing. A killed run goes on with ``--resume``. The encoder that is written is what
``training.train --encoder`` takes.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads are ruinous on shared cores
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import click
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.nn import functional
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    get_linear_schedule_with_warmup,
)
from transformers.utils import logging

from training.checkpoints import Checkpoints, clear
from training.devices import fastest_attention, make_accelerator
from training.encoder import check_fit, is_model_folder, longest_window, window_config, without_dropout
from training.masking import IGNORED, hide_spans, pack
from training.recipe import ENCODER
from training.texts import read_texts, token_lists
from training.vocabulary import add_characters, grow_embeddings, known_pieces, missing_characters

_WARMUP, _WEIGHT_DECAY, _BETAS = 0.05, 0.01, (0.9, 0.98)
_HELD_OUT = 256  # sequences on which the loss is reported
_FORWARD_TOKENS = 4_096
_LOGIT_ROWS = 128  # hidden tokens of a forward pass are filled up to a multiple of it
_CHECKPOINT_EVERY = 200  # steps


@click.command(help=__doc__)
@click.option("--text", "files", required=True, multiple=True, help="Text to learn from; may be given several times.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the encoder to write.")
@click.option("--encoder", default=ENCODER, show_default="models/encoder", help="Local folder or hub id to start from.")
@click.option("--exclude", multiple=True, help="Rows whose ids must not be learned from, such as a test split.")
@click.option("--steps", default=2_000, show_default=True, type=click.IntRange(1))
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(1), help="Sequences a step.")
@click.option("--length", default=128, show_default=True, type=click.IntRange(16), help="Tokens of a sequence.")
@click.option("--share", default=0.2, show_default=True, type=click.FloatRange(0.01, 0.3), help="Of the tokens to hide.")
@click.option("--learning-rate", default=2e-4, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option("--max-characters", default=2_000, show_default=True, type=click.IntRange(1), help="Of each document.")
@click.option("--seed", default=13, show_default=True)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--resume", is_flag=True, help="Go on where a killed run with the same command line stopped.")
def main(**options: Any) -> None:
    """Command line."""
    try:
        pretrain(**options)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def pretrain(
    files: Sequence[str], output: Path, encoder: str, exclude: Sequence[str], steps: int, batch_size: int, length: int,
    share: float, learning_rate: float, max_characters: int, seed: int, device: str, resume: bool,
) -> None:
    """Pre-train and write the encoder; see the options of ``main``.

    Raises:
        ValueError: files or an encoder that can't be used, too little text, or a loss that is not finite.
    """
    if output.resolve() == Path(encoder).resolve():
        raise ValueError(f"--output {output}: is the encoder's own folder; name another")
    if is_model_folder(output):
        raise ValueError(f"--output {output}: holds a model, which the encoder would take the place of; name another folder")
    accelerator = make_accelerator(device)
    if accelerator.num_processes > 1:
        raise ValueError("training.pretrain runs in one process; start it without torchrun")
    set_seed(seed)
    model, tokenizer = _load(encoder)
    texts = list(read_texts(files, exclude, max_characters))
    tokenizer = _add_missing(model, tokenizer, texts)
    length = longest_window(model.base_model, length)
    special = window_config(tokenizer, length, 0)
    documents = tqdm(texts, desc="tokenising", unit="doc", mininterval=1)
    sequences = pack(token_lists(documents, tokenizer.backend_tokenizer), length, special.cls, special.sep)
    if len(sequences) < 2:
        raise ValueError(f"--text: {len(sequences)} sequences of {length} tokens are too few to learn from")
    np.random.default_rng(seed).shuffle(sequences)
    held = min(_HELD_OUT, len(sequences) // 10 + 1)
    click.echo(
        f"{len(texts)} documents, {len(sequences):,} sequences of {length} tokens; {steps} steps see "
        f"{steps * batch_size / (len(sequences) - held):.2f} passes; on {accelerator.device}, {accelerator.mixed_precision}"
    )
    output.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(repr((encoder, steps, batch_size, share, learning_rate, seed)).encode() + sequences.tobytes())
    run = _Run(model, tokenizer, accelerator, output / "checkpoints", learning_rate, steps, share, seed)
    with fastest_attention(model, accelerator.device, length):
        run.learn(sequences[held:], sequences[:held], batch_size, resume, name.hexdigest())
    trained = model.base_model.half()
    if not all(torch.isfinite(parameter).all() for parameter in trained.parameters()):
        raise ValueError("weights are not finite in fp16 (beyond 65504): train with a lower --learning-rate")
    trained.save_pretrained(output)
    tokenizer.save_pretrained(output)
    clear(output / "checkpoints")
    click.echo(f"encoder written to {output}")


def _load(encoder: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The model with its language-modelling head, and the tokenizer."""
    logging.set_verbosity_error()  # a head that an encoder lacks is learned here
    logging.disable_progress_bar()
    try:
        config = without_dropout(AutoConfig.from_pretrained(encoder))
        config.tie_word_embeddings = True
        model, found = AutoModelForMaskedLM.from_pretrained(encoder, config=config, dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(encoder, use_fast=True)
    except Exception as error:  # the hub, safetensors and each encoder's own code fail in their own ways
        raise ValueError(f"--encoder {encoder}: can't be loaded as a masked language model: {error}") from error
    if getattr(tokenizer, "backend_tokenizer", None) is None or tokenizer.mask_token_id is None:
        raise ValueError(f"--encoder {encoder}: its tokenizer has no tokenizer.json, or no mask token")
    check_fit(encoder, model.base_model, tokenizer, [k for k in found["missing_keys"] if k.startswith(model.base_model_prefix)])
    language_head(model)
    return model, tokenizer


def _add_missing(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Give model and tokenizer the characters that they lack."""
    tokenizer.backend_tokenizer.no_truncation()  # some encoders' tokenizer.json asks for them
    tokenizer.backend_tokenizer.no_padding()
    missing, known = missing_characters(tokenizer.backend_tokenizer, texts), known_pieces(tokenizer)
    if not missing:
        return tokenizer
    tokenizer = add_characters(tokenizer, missing)
    grow_embeddings(model, tokenizer, known)
    click.echo(f"{len(missing)} characters added to {known} pieces")
    return tokenizer


class _Run:
    """The optimisation; ``learn`` leaves the trained weights in the model."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, accelerator: Accelerator, folder: Path,
        learning_rate: float, steps: int, share: float, seed: int,
    ) -> None:
        self.tokenizer, self.accelerator, self.steps, self.share, self.seed = tokenizer, accelerator, steps, share, seed
        prepared = accelerator.prepare_model(model, evaluation_mode=True)
        self.model = accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
        self.optimizer = accelerator.prepare_optimizer(
            torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=_BETAS, weight_decay=_WEIGHT_DECAY, fused=True)
        )
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, round(_WARMUP * steps), steps)
        accelerator.register_for_checkpointing(self.schedule)
        self.checkpoints = Checkpoints(folder, accelerator)

    def learn(self, sequences: np.ndarray, held_out: np.ndarray, batch_size: int, resume: bool, name: str) -> None:
        """All steps; step s sees the s-th batch of the sequences, over and over."""
        state = {"name": name, "processes": 1, "epoch": 0, "step": 0}
        if resume:
            state = self.checkpoints.restore(state)
        bar = tqdm(total=self.steps, initial=state["step"], unit="step", mininterval=1)
        smooth = 0.0
        while state["step"] < self.steps:
            step = state["step"]
            rows = np.arange(step * batch_size, (step + 1) * batch_size) % len(sequences)
            loss = self._step(sequences[rows], np.random.default_rng((self.seed, step)))
            if not math.isfinite(loss):
                raise ValueError(f"the loss is {loss} at step {step + 1}; try a lower --learning-rate")
            smooth = 0.98 * smooth + 0.02 * loss
            state["step"] = step + 1
            bar.set_postfix(loss=f"{smooth / (1 - 0.98 ** (bar.n - bar.initial + 1)):.3f}", refresh=False)
            bar.update()
            if state["step"] % _CHECKPOINT_EVERY == 0 or state["step"] == self.steps:
                bar.write(f"step {state['step']}: held-out loss {self._held_out(held_out):.4f}")
                self.checkpoints.save(state)
        bar.close()

    def _step(self, sequences: np.ndarray, rng: np.random.Generator) -> float:
        inputs, labels = self._hide(sequences, rng)
        count, total = (labels != IGNORED).sum().clamp_min(1), 0.0
        self.model.train()
        self.optimizer.zero_grad()
        for part in self._parts(inputs):
            loss = self._loss(inputs[part], labels[part]) / count
            self.accelerator.backward(loss)
            total += float(loss.detach())
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return total

    @torch.no_grad()
    def _held_out(self, sequences: np.ndarray) -> float:
        inputs, labels = self._hide(sequences, np.random.default_rng(self.seed))
        self.model.eval()
        total = sum(float(self._loss(inputs[part], labels[part])) for part in self._parts(inputs))
        return total / max(int((labels != IGNORED).sum()), 1)

    def _hide(self, sequences: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        tokenizer = self.tokenizer
        hidden = hide_spans(sequences, self.share, tokenizer.mask_token_id, tokenizer.all_special_ids, len(tokenizer), rng)
        inputs, labels = (torch.from_numpy(array).to(self.accelerator.device) for array in hidden)
        return inputs, labels

    def _parts(self, inputs: torch.Tensor) -> list[slice]:
        rows = max(1, _FORWARD_TOKENS // inputs.shape[1])
        return [slice(at, at + rows) for at in range(0, len(inputs), rows)]

    def _loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum of the losses of the hidden tokens; the others need no logits, which would be half of the work."""
        with self.accelerator.autocast():
            states = self.model.base_model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).last_hidden_state
            chosen = torch.nonzero((labels != IGNORED).flatten()).flatten()
            # Few different sizes: on a CPU each new one compiles kernels that stay in memory.
            rows = functional.pad(chosen, (0, -len(chosen) % _LOGIT_ROWS))
            logits = language_head(self.model)(states.flatten(0, 1)[rows])
        wanted = functional.pad(labels.flatten()[chosen], (0, len(rows) - len(chosen)), value=IGNORED)
        return functional.cross_entropy(logits.float(), wanted, ignore_index=IGNORED, reduction="sum")


def language_head(model: PreTrainedModel) -> nn.Module:
    """The module that turns states into logits over the vocabulary.

    Raises:
        ValueError: the encoder is of a kind whose head is unknown here.
    """
    for name in ("cls", "lm_head"):  # BERT and ERNIE; RoBERTa and XLM-R
        head = getattr(model, name, None)
        if head is not None:
            return head
    raise ValueError(f"{type(model).__name__} has neither the head of BERT nor that of RoBERTa")


if __name__ == "__main__":
    main()
