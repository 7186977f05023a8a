"""After training: the lexicon, calibration and thresholds, the export and its check, and what the dev part says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from transformers import PreTrainedTokenizerFast

from serving.calibration import Calibration, sigmoid
from serving.windows import WindowConfig
from training import calibrate, export
from training.data import Topic
from training.evaluate import evaluate, print_table
from training.examples import Example
from training.lexicon import fit_lexicon, lexical_logits
from training.loop import Prediction
from training.network import Network

CHECKED = 100  # dev documents on which the exported graph is compared


@dataclass(frozen=True)
class Trained:
    """A network whose weights are final, and all that its model folder states."""

    network: Network
    tokenizer: PreTrainedTokenizerFast
    windows: WindowConfig
    topics: Sequence[Topic]
    single_label: bool
    encoder: str
    notes: dict[str, Any]


def finish(
    output: Path, trained: Trained, train_set: Sequence[Example], dev_set: Sequence[Example],
    predictions: Sequence[Prediction], before: Sequence[Prediction], lexicon: bool,
) -> None:
    """Write the model folder.

    Args:
        predictions: exact ones of the dev part, with the weights as they are stored (``graph.to_half``).
        before: exact ones of its first ``CHECKED`` documents, with the weights as they were trained.
        lexicon: whether a lexicon stands beside the network.

    Raises:
        ValueError: the exported graph is not the network.
    """
    count = len(trained.topics)
    vocabulary, special = trained.network.encoder.config.vocab_size, trained.windows
    words = fit_lexicon(train_set, vocabulary, count, (special.cls, special.sep, special.pad)) if lexicon else None
    lexical = lexical_logits(words, dev_set)
    calibration, thresholds = _fit(trained, dev_set, predictions, lexical)
    summary = calibrate.choose_summary(dev_set, predictions)
    origin = Path(trained.encoder).name if Path(trained.encoder).exists() else trained.encoder
    export.export(
        output, trained.network, trained.tokenizer, trained.windows, trained.topics, thresholds, calibration, words, summary,
        trained.single_label, origin, trained.notes,
    )
    gaps = export.check(output, dev_set[:CHECKED], predictions, lexical)
    rounding = max(float(np.abs(sigmoid(a.logits) - sigmoid(b.logits)).max(initial=0)) for a, b in zip(before, predictions))
    click.echo(
        f"exported graph against the trained network, largest difference of a score over {len(before)} documents: "
        + ", ".join(f"{gap:.6f} in {name}" for name, gap in gaps.items())
        + f"; storing the weights as fp16 moved the network's own scores by at most {rounding:.6f}"
    )
    figures = evaluate(output, [example.row for example in dev_set], {example.row.where: example.document for example in dev_set})
    export.state_metrics(output, {"dev": {k: v for k, v in figures.items() if isinstance(v, (int, float))}})
    click.echo("dev part:")
    print_table(figures)
    click.echo(f"model written to {output}")


def _fit(
    trained: Trained, dev_set: Sequence[Example], predictions: Sequence[Prediction], lexical: Sequence[np.ndarray | None]
) -> tuple[Calibration, np.ndarray]:
    """Calibration and a threshold a topic, from the dev documents that have topics."""
    count = len(trained.topics)
    labelled = [i for i, example in enumerate(dev_set) if example.topics is not None]
    if not labelled or not count:
        return Calibration(1.0, 0.0, np.zeros(count, np.float32)), np.full(count, 0.5)
    truth = np.stack([dev_set[i].topics for i in labelled])
    logits = np.stack([predictions[i].logits for i in labelled])
    words = None if lexical[0] is None else np.stack([lexical[i] for i in labelled])
    calibration = calibrate.fit_calibration(logits, words, truth, trained.single_label)
    if trained.single_label:
        return calibration, np.full(count, 0.5)
    return calibration, calibrate.choose_thresholds(calibration.probabilities(logits, words, False), truth)
