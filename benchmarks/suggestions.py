"""How many labels a model needs where training.suggest chooses the documents, beside documents drawn at random.

    python benchmarks/suggestions.py --bench DIR [--data DIR] [--task NAME]… [--cache DIR] [--pool N] [--dev N] [--seeds N]

On thucnews_title (ten topics, one each), xwlb_topics_multilabel (15) and, where ``--data`` says what ``training.prepare`` wrote,
the desk's own (17); a label is read off the truth, so no reader is needed. Documents are chosen by
``training.selection.choose``, as training.start (the first batch, by weak labels) and training.suggest (all others, by the model
trained on what is labelled by then) call it. To train hundreds of models in minutes the learner is a cheap one: logistic
regression a topic on the frozen encoder's vectors. Prints micro-F1 (accuracy of titles) and macro-F1 on documents kept apart
(the dev part; the desk's: of the training part, since nothing is chosen by its dev part) against the number of labels, and how
many labels chosen at random reach what suggested ones reach.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.zero_labels import SINGLE, Part, load, part_of, topics_of
from training.prepare import DATA, read_jsonl
from training.selection import choose
from training.space import Encoder, Space
from training.topics import Topic, read_topics
from training.votes import label_without

OWN = "own"
STEPS = (60, 120, 180, 240, 360, 480, 720, 960)
_C = 30.0  # of places of length 1; chosen on random documents


@click.command(help=__doc__)
@click.option("--bench", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Of the desk's own topics.")
@click.option("--task", "tasks", multiple=True, type=click.Choice([*SINGLE, OWN]), help="Only these.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Keep the encoder's vectors here.")
@click.option("--pool", default=3_000, show_default=True, help="Documents of the train part that can be labelled.")
@click.option("--dev", default=1_863, show_default=True, help="Documents to measure on.")
@click.option("--seeds", default=3, show_default=True, help="Each draws two thirds of the pool.")
def main(bench: Path, data: Path | None, tasks: tuple[str, ...], cache: Path | None, pool: int, dev: int, seeds: int) -> None:
    """Command line."""
    if OWN in tasks and not data:
        raise click.UsageError("--task own asks for --data")
    encoder = Encoder(str(ROOT / "models" / "encoder"))
    for task in tasks or (*SINGLE, *([OWN] if data else [])):
        if task == OWN and data:
            topics = read_topics(DATA / "topics.yaml")
            parts = _own(data, topics, pool, dev)
        else:
            topics, parts = topics_of(task), (load(bench, task, "train", pool, 1), load(bench, task, "dev", dev, 1))
        vectors = [
            _vectors(encoder, part, cache and cache / f"{task}-{kind}-{len(part.documents)}.npy")
            for kind, part in zip(("pool", "dev"), parts)
        ]
        single = SINGLE.get(task, False)
        curves = [_curves(encoder, topics, parts, vectors, single, seed) for seed in range(seeds)]
        _print(task, np.array(curves))  # [seeds, ways, steps, figures]


def _own(data: Path, topics: Sequence[Topic], pool: int, dev: int) -> tuple[Part, Part]:
    """Of the training part, so many documents each."""
    rows = [row for row in read_jsonl(data / "train.jsonl") if row.get("topics") is not None]
    rows = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))[: pool + dev]]
    return part_of(rows[:pool], topics), part_of(rows[pool:], topics)


def _vectors(encoder: Encoder, part: Part, file: Path | None) -> np.ndarray:
    if file and file.is_file():
        return np.load(file)
    found = encoder.vectors(part.documents, progress=True)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, found)
    return found


def _curves(
    encoder: Encoder, topics: Sequence[Topic], parts: Sequence[Part], vectors: Sequence[np.ndarray], single: bool, seed: int
) -> list[list[tuple[float, float]]]:
    """Figures at each step, for suggested and for random documents."""
    rng = np.random.default_rng(seed)
    inside = rng.permutation(len(vectors[0]))[: 2 * len(vectors[0]) // 3]
    space = Space(vectors[0][inside])
    places, held, truth = space.place(vectors[0][inside]), space.place(vectors[1]), parts[0].truth[inside]
    weak = label_without([parts[0].documents[i] for i in inside], vectors[0][inside], topics, encoder, single)
    # As probabilities: where a document may have several topics, 0.5 where the weak model begins to say yes.
    first = np.clip(weak.scores, 0, 1) if single else 1 / (1 + np.exp(-8 * (weak.scores - np.minimum(weak.cuts, 1))))
    curves: list[list[tuple[float, float]]] = []
    for suggested in (True, False):
        labelled: list[int] = []
        scores = first
        curve = []
        for step in STEPS:
            left = np.setdiff1d(np.arange(len(places)), labelled)
            count = step - len(labelled)
            if suggested:
                have, thresholds = truth[labelled].sum(axis=0), None if single else [0.5] * truth.shape[1]
                picked = [c.document for c in choose(places[left], scores[left], thresholds, count, places[labelled], have)]
            else:
                picked = list(rng.choice(len(left), count, replace=False))
            labelled += left[picked].tolist()
            scores, decided = _learn(places[labelled], truth[labelled], places, held, single)
            figures = (f1_score(parts[1].truth, decided, average=kind, zero_division=0) for kind in ("micro", "macro"))
            curve.append(tuple(figures))
        curves.append(curve)
    return curves


def _learn(
    places: np.ndarray, truth: np.ndarray, pool: np.ndarray, dev: np.ndarray, single: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities on the pool, decisions on the other documents."""
    scores, margins = np.zeros((len(pool), truth.shape[1])), np.full((len(dev), truth.shape[1]), -np.inf)
    for topic in range(truth.shape[1]):
        if 0 < truth[:, topic].sum() < len(truth):
            machine = LogisticRegression(C=_C, max_iter=500).fit(places, truth[:, topic])
            scores[:, topic] = machine.predict_proba(pool)[:, 1]
            margins[:, topic] = machine.decision_function(dev)
    if single:
        return scores / scores.sum(axis=1, keepdims=True), margins == margins.max(axis=1, keepdims=True)
    return scores, margins > 0


def _print(task: str, curves: np.ndarray) -> None:
    table = Table("labels", "micro-F1 suggested", "random", "labels at random for it", "macro-F1 suggested", "random",
                  "labels at random for it", title=f"{task}: frozen encoder + logistic regression, mean of {len(curves)} seeds")
    mean, spread = curves.mean(axis=0), curves.std(axis=0)
    for i, step in enumerate(STEPS):
        cells = []
        for figure in (0, 1):
            cells += [f"{mean[way, i, figure]:.3f} ± {spread[way, i, figure]:.3f}" for way in (0, 1)]
            cells.append(_needed(mean[0, i, figure], mean[1, :, figure], step))
        table.add_row(str(step), *cells)
    Console(width=140).print(table)


def _needed(value: float, random: np.ndarray, step: int) -> str:
    """How many labels at random reach ``value`` (by linear interpolation), and that many times as many as suggested."""
    rising = np.maximum.accumulate(random)
    if value > rising[-1]:
        return f"> {STEPS[-1]} (> {STEPS[-1] / step:.1f}×)"
    if value <= rising[0]:
        return f"≤ {STEPS[0]}"
    needed = float(np.interp(value, rising, STEPS))
    return f"{needed:.0f} ({needed / step:.1f}×)"


if __name__ == "__main__":
    main()
