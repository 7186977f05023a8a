"""Fine-tuning with many labels: the layers above the frozen ones and the heads together, stopped by the dev part."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast
from sklearn.metrics import average_precision_score
from torch.nn import Module

from serving.cores import cores
from serving.windows import WindowConfig
from training import calibrate
from training.checkpoints import discard
from training.examples import Example, Parts, trim
from training.finish import CHECKED, Held, Outcome
from training.graph import to_half
from training.heads import fit_salience
from training.lexicon import fit_lexicon, lexical_logits
from training.loop import Loop, LoopConfig
from training.network import Network
from training.passes import Prediction
from training.ranking import fit_context
from training.recipe import HEAD_FACTOR, default_batch_size, default_epochs
from training.teacher import teach
from training.vectors import Body

_REFIT_DOCUMENTS, _REFIT_WINDOWS = 16_000, 6  # of each: their sentences' vectors are kept in memory
_REFIT_STEPS, _REFIT_RATE = 100, 1e-3
_CONTEXT_FROM = 1_000  # documents with key sentences; from fewer nothing is learned about sentences in context


@dataclass(frozen=True)
class FullConfig:
    """Options of ``training.train`` that steer this recipe. Of the Nones recipe.py decides; ``max_windows`` None is no limit."""

    epochs: int | None
    batch_size: int | None
    learning_rate: float
    layer_decay: float
    patience: int
    max_windows: int | None
    freeze: int
    seed: int
    single_label: bool
    lexicon: bool
    teachers: tuple[Path, ...]
    resume: bool


def train_full(
    network: Network, parts: Parts, ids: Sequence[str], windows: WindowConfig, config: FullConfig, accelerator: Accelerator,
    checkpoints: Path, depends: Any,
) -> Outcome:
    """Learn from all parts but dev, on as many processes as there are; the network then holds its best weights.

    Args:
        depends: what else a checkpoint in ``checkpoints`` belongs to; of another run's it is not resumed.

    Raises:
        ValueError: ``config.resume``, and the checkpoint is of another run; or the loss is no number any more.
    """
    learned = [*parts.train, *parts.weak, *parts.unlabelled]
    if config.teachers:
        learned = teach(learned, config.teachers, ids, cores(), progress=accelerator.is_main_process)
    if config.max_windows is not None:
        learned = [trim(example, config.max_windows, config.seed) for example in learned]
    tokens = sum(example.tokens for example in learned)
    batch_size = config.batch_size or default_batch_size(tokens, len(learned))
    epochs = config.epochs or default_epochs(len(learned), batch_size)
    accelerator.print(
        f"{parts}, {len(ids)} topics, {tokens:,} tokens an epoch, {epochs} epochs at most, batches of {batch_size}, "
        f"{config.freeze} layers frozen, on {accelerator.device}, {accelerator.mixed_precision}"
    )
    settings = LoopConfig(
        epochs=epochs, learning_rate=config.learning_rate, head_learning_rate=config.learning_rate * HEAD_FACTOR,
        batch_size=batch_size, seed=config.seed, single_label=config.single_label, patience=config.patience,
        freeze=config.freeze, layer_decay=config.layer_decay,
    )
    if not config.resume and accelerator.is_main_process:
        discard(checkpoints)
    accelerator.wait_for_everyone()
    loop = Loop(network, windows.pad, settings, accelerator, checkpoints)
    state = loop.run(
        learned, parts.dev, lambda examples, said: dev_score(examples, said, config.single_label), resume=config.resume,
        name=_fingerprint(parts, ids, (settings, windows, config.max_windows, depends)),
    )
    _refit_salience(loop, [*parts.train, *parts.weak], parts.dev, windows.pad, config.seed)
    before = loop.passes.predict(parts.dev[:CHECKED], exact=True)
    to_half(loop.raw)
    predictions = loop.passes.predict(parts.dev, exact=True)
    special = windows.cls, windows.sep, windows.pad
    labelled, vocabulary = [*parts.train, *parts.weak], network.encoder.config.vocab_size
    wanted = config.lexicon and accelerator.is_main_process
    words = fit_lexicon(labelled, vocabulary, len(ids), special) if wanted else None
    held = Held(parts.dev, predictions, lexical_logits(words, parts.dev))
    notes = {
        "recipe": "full", "epochs": epochs, "best_epoch": state["best_epoch"] + 1, "averaged": state["averaged"],
        "learning_rate": config.learning_rate, "batch_size": batch_size, "max_windows": config.max_windows,
        "layer_decay": config.layer_decay, "teachers": [folder.name for folder in config.teachers], "history": state["history"],
    }
    return Outcome(loop.raw, words, held, held.first(CHECKED), before, notes)


def _refit_salience(loop: Loop, examples: Sequence[Example], dev: Sequence[Example], pad: int, seed: int) -> None:
    """Fit the salience head once more, above the encoder as it is in the end, where ranking is learned too; then the layer that
    sees a document's sentences together, which stays if it makes the summaries of the dev part better.

    On the desk's own documents the first lifted the F1 of key sentences on dev from 0.580 to 0.592.
    """
    marked = [example for example in examples if example.salience is not None and len(example.salience)]
    drawn = random.Random(seed).sample(marked, min(len(marked), _REFIT_DOCUMENTS))
    chosen = [trim(example, _REFIT_WINDOWS, seed) for example in drawn]
    if not chosen:
        return
    acc, network = loop.accelerator, loop.raw
    acc.print("fitting the salience head above the encoder as it is now")
    vectors = Body(network.encoder, 0, pad, acc).vectors(chosen)
    fit_salience(chosen, vectors, network.salience_head.cpu(), _REFIT_STEPS, _REFIT_RATE)
    _share(network.salience_head, acc)
    if sum(example.salience.any() for example in chosen) < _CONTEXT_FROM:
        return
    without = calibrate.summary_score(dev, loop.passes.predict(dev))
    if without is None:
        return
    head = deepcopy(network.salience_head).cpu()
    network.context = _share(fit_context(chosen, vectors, head, seed, acc.is_main_process), acc)
    beside = calibrate.summary_score(dev, loop.passes.predict(dev))
    acc.print(f"sentences seen in context: summaries of the dev part {without:.3f} -> {beside:.3f}")
    if not beside > without:
        network.context = None


def _share(module: Module, accelerator: Accelerator) -> Module:
    """The module where the network computes, with the first process's weights: others may differ in the last digit."""
    for parameter in module.to(accelerator.device).parameters():
        parameter.data = broadcast(parameter.data)
    return module


def dev_score(examples: Sequence[Example], predictions: Sequence[Prediction], single_label: bool) -> float:
    """What early stopping watches, in [0, 1]: accuracy or micro-average precision, and F1 of key sentences (or ROUGE), 3 to 1."""
    scores = []
    labelled = [(e.topics, p.logits) for e, p in zip(examples, predictions) if e.topics is not None]
    if labelled:
        truth, logits = (np.stack(x) for x in zip(*labelled))
        if single_label:
            scores.append((3.0, float((truth.argmax(1) == logits.argmax(1)).mean())))
        elif truth.any():
            scores.append((3.0, float(average_precision_score(truth.ravel(), logits.ravel()))))
    summaries = calibrate.summary_score(examples, predictions)
    if summaries is not None:
        scores.append((1.0, summaries))
    return sum(weight * value for weight, value in scores) / max(sum(weight for weight, _ in scores), 1e-9)


def _fingerprint(parts: Parts, ids: Sequence[str], depends: Any) -> str:
    """What a checkpoint belongs to."""
    digest = hashlib.sha256(json.dumps([list(ids), repr(depends)]).encode())
    for example in [*parts.train, *parts.dev, *parts.unlabelled, *parts.weak]:
        row = example.row
        taught = (row.text, row.topics, row.key_sentences, row.summary, row.title, row.evidence)
        digest.update(repr(taught).encode("utf-8", "replace"))
    return digest.hexdigest()
