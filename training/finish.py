"""After training: the lexicon, calibration and thresholds, the export and its check, and what the dev part says."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from transformers import PreTrainedTokenizerFast

from serving.calibration import Calibration, sigmoid
from serving.errors import InputError
from serving.summary import Rule
from serving.windows import WindowConfig
from training import calibrate, export
from training.data import Topic
from training.evaluate import evaluate, print_table
from training.examples import Example
from training.folds import make_folds
from training.judge import Judged, figures, totals
from training.network import Network
from training.passes import Prediction

CHECKED = 100  # dev documents on which the exported graph is compared
_FOLDS = 5  # of documents with labels, each judged by decisions fitted to the others
Decisions = tuple[Calibration, np.ndarray, Rule]


@dataclass(frozen=True)
class Held:
    """Documents, what the network says of them, and the logits [T] of the lexicon or None. ``shares`` [T] says how frequent each
    topic is where the model will be used, if that is known and not as among these."""

    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    lexical: Sequence[np.ndarray | None]
    shares: np.ndarray | None = None

    def only(self, places: Iterable[int]) -> Held:
        """Those at these places."""
        kept = list(places)
        examples, predictions, lexical = ([part[i] for i in kept] for part in (self.examples, self.predictions, self.lexical))
        return Held(examples, predictions, lexical, self.shares)

    def first(self, count: int) -> Held:
        """So many of them."""
        return self.only(range(min(count, len(self.examples))))


@dataclass(frozen=True)
class Outcome:
    """What a recipe learned.

    ``network`` has weights rounded to what is stored (``graph.to_half``); ``words`` is the lexicon beside it, if there is one.
    ``held`` is what was said of documents not learned from, to fit calibration, thresholds and summaries on; ``checked`` are
    exact predictions of some documents, ``before`` those of the same with the weights as they were trained.
    """

    network: Network
    words: tuple[np.ndarray, np.ndarray] | None
    held: Held
    checked: Held
    before: Sequence[Prediction]
    notes: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """What a model folder states beside what was learned."""

    tokenizer: PreTrainedTokenizerFast
    windows: WindowConfig
    topics: Sequence[Topic]
    single_label: bool
    encoder: str
    notes: dict[str, Any]


def finish(output: Path, trained: Trained, outcome: Outcome, learned: bool) -> None:
    """Write the model folder.

    Args:
        learned: the held documents are in the training part, and were held back in turn by cross-validation.

    Raises:
        ValueError: the exported graph is not the network. A model that was in the folder is still there.
    """
    held, checked = outcome.held, outcome.checked
    count = len(trained.topics)
    unfitted = Calibration(1.0, 0.0, np.zeros(count, np.float32)), np.full(count, 0.5), calibrate.choose_summary([], [])
    calibration, thresholds, summary = decide(held, unfitted, trained.single_label)
    origin = Path(trained.encoder).name if Path(trained.encoder).exists() else trained.encoder
    fresh = export.export(
        output, outcome.network, trained.tokenizer, trained.windows, trained.topics, thresholds, calibration, outcome.words,
        summary, trained.single_label, origin, trained.notes,
    )
    try:
        gaps = export.check(fresh, checked.examples, checked.predictions, checked.lexical)
    except BaseException:  # a model that does not load, too
        shutil.rmtree(fresh)
        raise
    export.put(fresh, output)
    pairs = zip(outcome.before, checked.predictions)
    rounding = max(float(np.abs(sigmoid(a.logits) - sigmoid(b.logits)).max(initial=0)) for a, b in pairs)
    click.echo(
        f"exported graph against the trained network, largest difference of a score over {len(outcome.before)} documents: "
        + ", ".join(f"{gap:.6f} in {name}" for name, gap in gaps.items())
        + f"; storing the weights as fp16 moved the network's own scores by at most {rounding:.6f}"
    )
    if learned:
        said = out_of_fold(held, unfitted, trained.single_label)  # the thresholds have seen all rows
        name, found = "cross_validation", figures([topic.id for topic in trained.topics], said, trained.single_label)
    else:
        documents = {example.row.where: example.document for example in held.examples}
        name, found = "dev", evaluate(output, [example.row for example in held.examples], documents)
    export.restate(output, metrics={name: totals(found)})
    click.echo("training rows, each by a model that had not seen it:" if learned else "dev part:")
    print_table(found)
    click.echo(f"model written to {output}")


def judged(
    held: Held, calibration: Calibration, thresholds: np.ndarray, summary: Rule, single_label: bool
) -> list[Judged]:
    """What was said of the documents, with these decisions; without the sentences that speak for the topics."""
    found, count = [], len(thresholds)
    for example, prediction, lexical in zip(held.examples, held.predictions, held.lexical):
        scores = calibration.probabilities(prediction.logits, lexical, single_label)
        given = np.eye(count, dtype=int)[scores.argmax()] if single_label else (scores >= thresholds).astype(int)
        picked = sorted(calibrate.choose_keys(example, prediction.sentences[:, -1], summary))
        found.append(Judged(example.row, example.document, scores, given, np.zeros(count, int), picked))
    return found


def decide(held: Held, now: Decisions, single_label: bool) -> Decisions:
    """Decisions fitted to the documents; what their labels say nothing about stays as it is ``now``."""
    calibration, thresholds, summary = now
    if any(example.topics is not None for example in held.examples) and len(thresholds):
        calibration, thresholds = calibrate.fit_decisions(
            held.examples, held.predictions, held.lexical, single_label, held.shares
        )
    if calibrate.summary_score(held.examples, held.predictions) is not None:
        summary = calibrate.choose_summary(held.examples, held.predictions)
    return calibration, thresholds, summary


def out_of_fold(held: Held, now: Decisions, single_label: bool) -> list[Judged]:
    """What is said of each document with decisions that were fitted to others, reprints of it not among them.

    Raises:
        InputError: all are reprints of one.
    """
    found: dict[int, Judged] = {}
    folds = make_folds(held.examples, _FOLDS, seed=0)
    if len(folds) < 2:
        raise InputError("the rows all begin alike: there are no others to choose by; add other documents")
    for fold in folds:
        others = sorted(set(range(len(held.examples))) - set(fold))
        said = judged(held.only(fold), *decide(held.only(others), now, single_label), single_label)
        found.update(zip(fold, said))
    return [found[i] for i in range(len(held.examples))]
