"""Fine-tune an encoder on labelled documents, and write a model folder that the service loads.

    python -m training.train --data TRAIN --output DIR [--dev DEV] [--encoder DIR|HUB_ID] [--topics FILE] …

With several processes: ``torchrun --nproc-per-node 2 -m training.train …``. A killed run goes on with ``--resume``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads are ruinous on shared cores
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import click
import numpy as np
from accelerate.utils import set_seed
from sklearn.metrics import average_precision_score

from serving.model import read_config
from serving.settings import ROOT
from training import calibrate, export
from training.data import DataError
from training.devices import make_accelerator
from training.examples import Example, make_examples, trim
from training.finish import CHECKED, Trained, finish
from training.frozen import freeze as freeze_layers
from training.inputs import load_inputs
from training.loop import Loop, LoopConfig, Prediction
from training.metrics import key_sentence_f1
from training.network import Network, keep_layers, load_encoder, longest_window, start_heads, window_config
from training.recipe import default_batch_size, default_epochs

MAX_TITLE_TOKENS = 48
HEAD_FACTOR = 10.0  # heads start from nothing and learn faster than the encoder


@click.command(help=__doc__)
@click.option("--data", required=True, help="Training rows: .jsonl(.gz), .csv, .parquet, or a name for load_dataset.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Model folder to write.")
@click.option("--dev", help="Rows for early stopping, calibration and thresholds; left out: split off --data.")
@click.option("--encoder", default=str(ROOT / "models" / "encoder"), help="Local folder, model folder or hub id.")
@click.option("--single-label", is_flag=True, help="Each document has exactly one topic.")
@click.option("--topics", "topics_file", type=click.Path(path_type=Path), help="YAML list of id, name, description.")
@click.option("--epochs", type=click.IntRange(1), help="Default: as many as make 3,000 steps, 4 to 20.")
@click.option("--learning-rate", default=1e-4, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option("--batch-size", type=click.IntRange(1), help="Documents a step. Default: 16, up to 64 short ones.")
@click.option("--window", default=128, show_default=True, type=click.IntRange(32), help="Tokens of a window.")
@click.option("--layers", type=click.IntRange(1), help="Keep only so many of the encoder's bottom layers.")
@click.option("--dropout", default=0.1, show_default=True, type=click.FloatRange(0, 0.9), help="Of the heads' input.")
@click.option("--freeze", default=0, show_default=True, type=click.IntRange(0), help="Leave so many bottom layers as they are.")
@click.option("--max-windows", type=click.IntRange(1), help="Learn from at most so many windows of a training document.")
@click.option("--lexicon/--no-lexicon", default=True, show_default=True, help="Weigh the words beside the network.")
@click.option("--patience", default=3, show_default=True, type=click.IntRange(1), help="Epochs without a better dev score.")
@click.option("--seed", default=13, show_default=True)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--resume", is_flag=True, help="Go on where a killed run with the same command line stopped.")
def main(**options: Any) -> None:
    """Command line."""
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
    try:
        train(**options)
    except DataError as error:
        if _is_first():
            click.echo(f"The data can't be used ({len(error.problems)} problems):\n{error}", err=True)
        sys.exit(2)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def train(
    data: str, output: Path, dev: str | None, encoder: str, single_label: bool, topics_file: Path | None, epochs: int | None,
    learning_rate: float, batch_size: int | None, window: int, layers: int | None, dropout: float, freeze: int,
    max_windows: int | None, lexicon: bool, patience: int, seed: int, device: str, resume: bool,
) -> None:
    """Train, calibrate, export, check; see the options of ``main``.

    Raises:
        DataError: all that is wrong with the rows.
        ValueError: settings that can't work together.
    """
    inputs = load_inputs(data, dev, topics_file, single_label, seed, progress=_is_first())
    topics, ids = inputs.topics, [topic.id for topic in inputs.topics]
    if output.resolve() == Path(encoder).resolve():
        raise ValueError(f"--output {output}: is the encoder's own folder; name another")
    output.mkdir(parents=True, exist_ok=True)
    accelerator = make_accelerator(device)
    set_seed(seed)
    module, tokenizer, heads = load_encoder(encoder)
    if layers is not None:
        keep_layers(module, layers)
    if freeze:
        freeze_layers(module, freeze)
    window = longest_window(module, window)
    windows = window_config(tokenizer, window, min(MAX_TITLE_TOKENS, window // 4))
    network = Network(module, len(topics), dropout)
    if heads:
        start_heads(network, heads, [topic["id"] for topic in read_config(Path(encoder))["topics"]], ids)
    set_seed(seed, device_specific=True)  # each process drops out other units
    train_set, dev_set = (
        make_examples(rows, ids, tokenizer.backend_tokenizer, windows, inputs.documents) for rows in (inputs.train, inputs.dev)
    )
    learned = train_set if max_windows is None else [trim(example, max_windows, seed) for example in train_set]
    tokens = sum(example.tokens for example in learned)
    batch_size = batch_size or default_batch_size(tokens, len(learned))
    epochs = epochs or default_epochs(len(learned), batch_size)
    accelerator.print(
        f"{len(train_set)} training and {len(dev_set)} dev documents, {len(topics)} topics, "
        f"{tokens:,} tokens an epoch, {epochs} epochs at most, batches of {batch_size}, "
        f"on {accelerator.device}, {accelerator.mixed_precision}"
    )
    settings = LoopConfig(
        epochs=epochs, learning_rate=learning_rate, head_learning_rate=learning_rate * HEAD_FACTOR, batch_size=batch_size,
        seed=seed, single_label=single_label, patience=patience, freeze=freeze,
    )
    checkpoints = output / "checkpoints"
    if not resume and accelerator.is_main_process:
        shutil.rmtree(checkpoints, ignore_errors=True)
    accelerator.wait_for_everyone()
    loop = Loop(network, windows.pad, settings, accelerator, checkpoints)
    name = _fingerprint(inputs.train + inputs.dev, ids, settings, encoder, (windows, max_windows, dropout))
    state = loop.run(learned, dev_set, lambda e, p: dev_score(e, p, single_label), resume=resume, name=name)
    before = loop.predict(dev_set[:CHECKED], exact=True)
    export.to_half(loop.raw)
    predictions = loop.predict(dev_set, exact=True)
    if accelerator.is_main_process:
        notes = {"training": {
            "data": Path(data).name, "documents": len(train_set), "dev_documents": len(dev_set), "seed": seed,
            "epochs": epochs, "best_epoch": state["best_epoch"] + 1, "averaged": state["averaged"],
            "learning_rate": learning_rate, "batch_size": batch_size, "window": window, "dropout": dropout, "freeze": freeze,
            "max_windows": max_windows, "history": state["history"],
        }}
        trained = Trained(loop.raw, tokenizer, windows, topics, single_label, encoder, notes)
        finish(output, trained, train_set, dev_set, predictions, before, lexicon)
        shutil.rmtree(checkpoints)
    accelerator.wait_for_everyone()
    accelerator.end_training()


def dev_score(examples: Sequence[Example], predictions: Sequence[Prediction], single_label: bool) -> float:
    """What early stopping watches, in [0, 1]: accuracy or micro-average precision, and F1 of key sentences, 3 to 1."""
    parts = []
    labelled = [(e.topics, p.logits) for e, p in zip(examples, predictions) if e.topics is not None]
    if labelled:
        truth, logits = (np.stack(x) for x in zip(*labelled))
        if single_label:
            parts.append((3.0, float((truth.argmax(1) == logits.argmax(1)).mean())))
        elif truth.any():
            parts.append((3.0, float(average_precision_score(truth.ravel(), logits.ravel()))))
    marked = [(e, p) for e, p in zip(examples, predictions) if e.salience is not None and e.salience.any()]
    if marked:
        gold = [set(np.flatnonzero(e.salience).tolist()) for e, _ in marked]
        chosen = [calibrate.choose_keys(e, p.sentences[:, -1], 0.0) for e, p in marked]
        parts.append((1.0, key_sentence_f1(gold, chosen) or 0.0))
    return sum(weight * value for weight, value in parts) / max(sum(weight for weight, _ in parts), 1e-9)


def _is_first() -> bool:
    """Whether this is the process that speaks, where torchrun started several."""
    return os.environ.get("RANK", "0") == "0"


def _fingerprint(rows: Sequence[Any], ids: Sequence[str], settings: LoopConfig, encoder: str, windows: Any) -> str:
    """What a checkpoint belongs to."""
    digest = hashlib.sha256(json.dumps([list(ids), repr(settings), encoder, repr(windows)]).encode())
    for row in rows:
        taught = (row.text, row.topics, row.key_sentences, row.summary, row.title, row.evidence)
        digest.update(repr(taught).encode("utf-8", "replace"))
    return digest.hexdigest()


if __name__ == "__main__":
    main()
