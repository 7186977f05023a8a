"""List the labels of a training file that are likely wrong, to be read again.

    python -m training.suspects --data TRAIN --output FILE.jsonl [--folds N] [--limit N]

Each document is judged by a linear model on words that has not seen it (out-of-fold), and cleanlab's confident learning
(Northcutt et al. 2021) picks, topic by topic, the labels that its probabilities contradict. One line a document and topic, the
least credible first: ``where``, ``id``, ``topic``, ``given`` (whether the label is there), ``probability``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from training.calibrate import fit_calibration
from training.data import Topic, read_rows, topics_of
from training.diagnosis import contradicted
from training.encoder import load_encoder, window_config
from training.errors import faults_told
from training.examples import Example, make_examples, opening
from training.lexicon import fit_lexicon, lexical_logits
from training.prepare import write_jsonl
from training.recipe import ENCODER

_WINDOW, _TITLE = 128, 48  # of no matter to a model on words, but examples are made of windows


@dataclass(frozen=True)
class Suspect:
    """A label that is likely wrong: ``given`` says whether it is there, ``probability`` how likely it should be."""

    where: str
    id: str
    topic: str
    given: bool
    probability: float


@click.command(help=__doc__)
@click.option("--data", required=True, help="Labelled rows, as for training.train.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="JSONL file to write.")
@click.option("--encoder", default=ENCODER, show_default="models/encoder", help="Its tokens are the words.")
@click.option("--folds", default=5, show_default=True, type=click.IntRange(2))
@click.option("--limit", type=click.IntRange(1), help="At most so many lines.")
def main(data: str, output: Path, encoder: str, folds: int, limit: int | None) -> None:
    """Command line."""
    with faults_told():
        rows = [row for row in read_rows(data) if row.topics is not None]
        topics = topics_of(rows)
        if not topics:
            raise ValueError(f"{data}: no row has a topic")
        _, tokenizer, _ = load_encoder(encoder)
        windows = window_config(tokenizer, _WINDOW, _TITLE)
        examples = make_examples(rows, [t.id for t in topics], tokenizer.backend_tokenizer, windows)
        special = (windows.cls, windows.sep, windows.pad)
        found = find_suspects(examples, topics, out_of_fold(examples, len(topics), len(tokenizer), special, folds))
        output.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(output, map(vars, found[:limit]))
    cells, read = len(examples) * len(topics), len({suspect.where for suspect in found})
    click.echo(f"{len(found)} of {cells:,} labels, in {read} of {len(examples)} documents, are likely wrong: {output}")


def out_of_fold(examples: Sequence[Example], topics: int, vocabulary: int, special: Sequence[int], folds: int) -> np.ndarray:
    """Calibrated probabilities [documents, topics], each from a model that has not seen the document or one that begins like it.

    Raises:
        ValueError: there are fewer documents than folds.
    """
    groups = [opening(example.document.text) for example in examples]
    if len(set(groups)) < folds:
        raise ValueError(f"{len(set(groups))} different documents can't be parted into {folds} folds")
    logits = np.zeros((len(examples), topics))
    splits = GroupKFold(folds, shuffle=True, random_state=0).split(examples, groups=groups)
    for train, held in tqdm(splits, total=folds, desc="folds", unit="fold"):
        words = fit_lexicon([examples[i] for i in train], vocabulary, topics, special)
        logits[held] = np.stack(lexical_logits(words, [examples[i] for i in held]))
    truth = np.stack([example.topics for example in examples])
    return fit_calibration(logits, None, truth, single_label=False).probabilities(logits, None, False)


def find_suspects(examples: Sequence[Example], topics: Sequence[Topic], probabilities: np.ndarray) -> list[Suspect]:
    """The labels that cleanlab finds contradicted, the least credible first."""
    truth = np.stack([example.topics for example in examples])
    found = []
    for document, topic in zip(*np.nonzero(contradicted(truth, probabilities))):
        example, probability = examples[document], float(probabilities[document, topic])
        given = bool(example.topics[topic])
        found.append(Suspect(example.row.where, example.row.id, topics[topic].id, given, round(probability, 4)))
    return sorted(found, key=lambda suspect: suspect.probability if suspect.given else 1 - suspect.probability)


if __name__ == "__main__":
    main()
