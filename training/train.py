"""Fine-tune an encoder on labelled documents, and write a model folder that the service loads.

    python -m training.train --data TRAIN --output DIR [--dev DEV] [--encoder DIR|HUB_ID] [--topics FILE] …

With several processes: ``torchrun --nproc-per-node 2 -m training.train …``. A killed run goes on with ``--resume``.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads are ruinous on shared cores
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import click
from accelerate.utils import set_seed
from torch.nn import Module

from serving.folder import read_config
from training.candidates import Material
from training.checkpoints import clear
from training.devices import make_accelerator
from training.encoder import fingerprint, keep_layers, load_encoder, longest_window, window_config
from training.errors import faults_told
from training.examples import Parts, make_examples
from training.export import check_place
from training.few import FEW, RECIPES, train_few
from training.finish import Trained, finish
from training.frozen import freeze as freeze_layers
from training.full import FullConfig, train_full
from training.inputs import load_inputs
from training.network import Network, start_heads
from training.recipe import ENCODER, LAYER_DECAY, LEARNING_RATE, default_freeze
from training.teacher import check_teachers
from training.vectors import Body

MAX_TITLE_TOKENS = 48
PATIENCE = 3
DROPOUT = 0.1
WEAK_WEIGHT = 0.3


@click.command(help=__doc__)
@click.option("--data", required=True, help="Training rows: .jsonl(.gz), .csv, .parquet, or a name for load_dataset.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Model folder to write.")
@click.option("--dev",
              help="Rows for early stopping, calibration and thresholds. Left out: a tenth of many; few are cross-validated.")
@click.option("--encoder", default=ENCODER, show_default="models/encoder", help="Local folder, model folder or hub id.")
@click.option("--single-label", is_flag=True, help="Each document has exactly one topic.")
@click.option("--topics", "topics_file", type=click.Path(path_type=Path), help="YAML list of id, name, description.")
@click.option("--recipe", default="auto", show_default=True, type=click.Choice(["auto", *RECIPES]),
              help="auto: full for many rows; for few (2,000 and fewer) what cross-validation finds best.")
@click.option("--weak", multiple=True, help="Rows whose labels nobody has read: learned from at a weight, never judged by.")
@click.option("--weak-weight", default=WEAK_WEIGHT, show_default=True, type=click.FloatRange(0, 1, min_open=True),
              help="What such a row counts for, beside one with a real label.")
@click.option("--epochs", type=click.IntRange(1), help="Default: as many as make 2,400 steps, 4 to 20.")
@click.option("--learning-rate", default=LEARNING_RATE, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option("--batch-size", type=click.IntRange(1), help="Documents a step. Default: 16, up to 64 short ones.")
@click.option("--window", default=128, show_default=True, type=click.IntRange(32), help="Tokens of a window.")
@click.option("--layers", type=click.IntRange(1), help="Keep only so many of the encoder's bottom layers.")
@click.option("--dropout", default=DROPOUT, show_default=True, type=click.FloatRange(0, 0.9), help="Of the heads' input.")
@click.option("--freeze", type=click.IntRange(0),
              help="Leave so many bottom layers as they are. Default: two thirds of 6 and more; 0 with --layers.")
@click.option("--max-windows", type=click.IntRange(1), help="Learn from at most so many windows of a training document.")
@click.option("--lexicon/--no-lexicon", default=True, show_default=True, help="Weigh the words beside the network.")
@click.option("--teacher", "teachers", multiple=True, type=click.Path(path_type=Path),
              help="Model folder to learn from too; several: from their mean.")
@click.option("--unlabelled",
              help="Rows with text alone, to learn from by the teacher's scores, or with few labels by the model's own.")
@click.option("--layer-decay", default=LAYER_DECAY, show_default=True, type=click.FloatRange(0, 1, min_open=True),
              help="Each layer learns at so much of the rate of the one above.")
@click.option("--patience", default=PATIENCE, show_default=True, type=click.IntRange(1),
              help="Epochs without a better dev score.")
@click.option("--seed", default=13, show_default=True)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--resume", is_flag=True, help="Go on where a killed run with the same command line stopped.")
def main(**options: Any) -> None:
    """Command line."""
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
    warnings.filterwarnings("ignore", message="Initializing zero-element tensors")  # of rows without topics
    with faults_told(shown=_is_first()):
        train(**options)


def train(
    data: str, output: Path, dev: str | None, encoder: str, single_label: bool, topics_file: Path | None, epochs: int | None,
    learning_rate: float, batch_size: int | None, window: int, layers: int | None, dropout: float, freeze: int | None,
    max_windows: int | None, lexicon: bool, teachers: tuple[Path, ...], unlabelled: str | None, layer_decay: float, patience: int,
    seed: int, device: str, resume: bool, recipe: str = "auto", weak: tuple[str, ...] = (), weak_weight: float = WEAK_WEIGHT,
) -> None:
    """Train, calibrate, export, check; see the options of ``main``.

    Raises:
        DataError: all that is wrong with the rows.
        ValueError: settings that can't work together.
    """
    steered = _steered(
        epochs=epochs, batch_size=batch_size, layers=layers, freeze=freeze, max_windows=max_windows, teacher=teachers or None,
        resume=resume or None, learning_rate=None if learning_rate == LEARNING_RATE else learning_rate,
        layer_decay=None if layer_decay == LAYER_DECAY else layer_decay, patience=None if patience == PATIENCE else patience,
        dropout=None if dropout == DROPOUT else dropout,
    )
    limit = _limit(recipe, steered)
    if output.resolve() == Path(encoder).resolve():
        raise ValueError(f"--output {output}: is the encoder's own folder; name another")
    check_place(output)
    inputs = load_inputs(
        data, dev, topics_file, single_label, seed, unlabelled, progress=_is_first(), weak=weak, whole_up_to=limit
    )
    few = len(inputs.train) + (0 if dev else len(inputs.dev)) <= limit
    _check_unlabelled(bool(unlabelled), bool(teachers) or few)
    topics, ids = inputs.topics, [topic.id for topic in inputs.topics]
    taught_by = check_teachers(teachers, ids, single_label)
    output.mkdir(parents=True, exist_ok=True)
    accelerator = make_accelerator(device)
    set_seed(seed)
    module, tokenizer, heads = load_encoder(encoder)
    weights = fingerprint(module)
    if layers is not None:
        keep_layers(module, layers)
    if freeze is None and layers is not None:
        freeze = 0  # what is left of a stack has to learn the work of the layers that are gone
    freeze = _freeze(module, freeze)
    window = longest_window(module, window)
    windows = window_config(tokenizer, window, min(MAX_TITLE_TOKENS, window // 4))
    train_set, dev_set, more, guessed = (
        make_examples(rows, ids, tokenizer.backend_tokenizer, windows, inputs.documents)
        for rows in (inputs.train, inputs.dev, inputs.unlabelled, inputs.weak)
    )
    parts = Parts(train_set, [replace(example, weight=weak_weight) for example in guessed], more, dev_set)
    notes = {
        "data": Path(data).name, "documents": len(train_set), "dev_documents": len(dev_set), "seed": seed, "window": window,
        "dropout": dropout, "freeze": freeze, "unlabelled_documents": len(more), "weak_documents": len(guessed),
        "weak_weight": weak_weight if guessed else None,
    }
    old = [topic["id"] for topic in read_config(Path(encoder))["topics"]] if heads else []
    checkpoints = output / "checkpoints"
    if few:
        body = Body(module, freeze, windows.pad, accelerator)
        material = Material(body, windows, ids, single_label, dropout, seed, lexicon, more, heads, old)
        outcome = train_few(material, parts.train, parts.weak, parts.dev, recipe, accelerator.print)
    else:
        network = Network(module, len(topics), dropout)
        if heads:
            start_heads(network, heads, old, ids)
        set_seed(seed, device_specific=True)  # each process drops out other units
        config = FullConfig(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, layer_decay=layer_decay, patience=patience,
            max_windows=max_windows, freeze=freeze, seed=seed, single_label=single_label, lexicon=lexicon, teachers=teachers,
            resume=resume,
        )
        depends = weights, dropout, taught_by, weak_weight
        outcome = train_full(network, parts, ids, windows, config, accelerator, checkpoints, depends)
    if accelerator.is_main_process:
        trained = Trained(tokenizer, windows, topics, single_label, encoder, {"training": notes | outcome.notes})
        finish(output, trained, outcome, learned=few and not dev)
        clear(checkpoints)
    accelerator.end_training()  # the others do not wait for the first, whose last steps may take longer than a barrier allows


def _steered(**options: Any) -> list[str]:
    """The options given that steer the recipe full; several processes do too."""
    given = ["--" + name.replace("_", "-") for name, value in options.items() if value is not None]
    return given + (["several processes"] if int(os.environ.get("WORLD_SIZE", "1")) > 1 else [])


def _limit(recipe: str, steered: Sequence[str]) -> int:
    """Up to how many rows count as few, and are trained as ``few.py`` says."""
    light = recipe in ("linear", "contrastive")
    if light and steered:
        raise ValueError(f"--recipe {recipe} can't go with {', '.join(steered)}, which steers the recipe full")
    return 0 if steered else sys.maxsize if light else FEW


def _check_unlabelled(given: bool, usable: bool) -> None:
    if given and not usable:
        raise ValueError(
            "--unlabelled: only a teacher can say what to learn from these rows; name one with --teacher (where labels are few, "
            f"up to {FEW:,} rows, and nothing steers the training, a model learns from them by itself)"
        )


def _freeze(encoder: Module, layers: int | None) -> int:
    """Freeze so many layers, or the default number where this encoder can be split; returns how many."""
    chosen = default_freeze(getattr(encoder.config, "num_hidden_layers", 0)) if layers is None else layers
    if chosen:
        try:
            freeze_layers(encoder, chosen)
        except ValueError:
            if layers is not None:
                raise
            return 0
    return chosen


def _is_first() -> bool:
    """Whether this is the process that speaks, where torchrun started several."""
    return os.environ.get("RANK", "0") == "0"


if __name__ == "__main__":
    main()
