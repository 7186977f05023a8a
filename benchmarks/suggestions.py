"""How many labels a model needs where training.suggest chooses the documents, beside documents drawn at random.

    python benchmarks/suggestions.py --bench DIR [--cache DIR] [--pool N] [--dev N] [--seeds N]

On xwlb_topics_multilabel (15 topics); a label is read off the truth, so no reader is needed. Documents are chosen by
``training.selection.choose``, as training.start (the first batch, by weak labels) and training.suggest (all others, by the model
trained on what is labelled by then) call it. To train hundreds of models in minutes the learner is a cheap one: logistic
regression a topic on the frozen encoder's vectors. Prints micro-F1 and macro-F1 on the dev part against the number of labels, and
how many labels chosen at random reach what suggested ones reach.
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

from benchmarks.zero_labels import Part, load, topics_of
from training.selection import choose
from training.space import Encoder, Space
from training.votes import label_without

TASK = "xwlb_topics_multilabel"
STEPS = (60, 120, 180, 240, 360, 480, 720, 960)
_C = 30.0  # of places of length 1; chosen on random documents


@click.command(help=__doc__)
@click.option("--bench", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Keep the encoder's vectors here.")
@click.option("--pool", default=3_000, show_default=True, help="Documents of the train part that can be labelled.")
@click.option("--dev", default=1_863, show_default=True, help="Documents of the dev part.")
@click.option("--seeds", default=3, show_default=True, help="Each draws two thirds of the pool.")
def main(bench: Path, cache: Path | None, pool: int, dev: int, seeds: int) -> None:
    """Command line."""
    encoder = Encoder(str(ROOT / "models" / "encoder"))
    parts = load(bench, TASK, "train", pool, 1), load(bench, TASK, "dev", dev, 1)
    vectors = [_vectors(encoder, part, cache and cache / f"{TASK}-{len(part.documents)}.npy") for part in parts]
    curves = np.array([_curves(encoder, parts, vectors, seed) for seed in range(seeds)])  # [seeds, ways, steps, figures]
    _print(curves)


def _vectors(encoder: Encoder, part: Part, file: Path | None) -> np.ndarray:
    if file and file.is_file():
        return np.load(file)
    found = encoder.vectors(part.documents, progress=True)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, found)
    return found


def _curves(encoder: Encoder, parts: Sequence[Part], vectors: Sequence[np.ndarray], seed: int) -> list[list[tuple[float, float]]]:
    """Figures at each step, for suggested and for random documents."""
    rng = np.random.default_rng(seed)
    inside = rng.permutation(len(vectors[0]))[: 2 * len(vectors[0]) // 3]
    space = Space(vectors[0][inside])
    places, held, truth = space.place(vectors[0][inside]), space.place(vectors[1]), parts[0].truth[inside]
    weak = label_without([parts[0].documents[i] for i in inside], vectors[0][inside], topics_of(TASK), encoder, False)
    curves: list[list[tuple[float, float]]] = []
    for suggested in (True, False):
        labelled: list[int] = []
        scores = 1 / (1 + np.exp(-8 * (weak.scores - np.minimum(weak.cuts, 1))))  # 0.5 where the weak model would say yes
        curve = []
        for step in STEPS:
            left = np.setdiff1d(np.arange(len(places)), labelled)
            count = step - len(labelled)
            if suggested:
                have = truth[labelled].sum(axis=0)
                thresholds = [0.5] * truth.shape[1]
                picked = [c.document for c in choose(places[left], scores[left], thresholds, count, places[labelled], have)]
            else:
                picked = list(rng.choice(len(left), count, replace=False))
            labelled += left[picked].tolist()
            scores, decided = _learn(places[labelled], truth[labelled], places, held)
            figures = (f1_score(parts[1].truth, decided, average=kind, zero_division=0) for kind in ("micro", "macro"))
            curve.append(tuple(figures))
        curves.append(curve)
    return curves


def _learn(places: np.ndarray, truth: np.ndarray, pool: np.ndarray, dev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities on the pool, decisions on the dev part."""
    scores, decided = np.zeros((len(pool), truth.shape[1])), np.zeros((len(dev), truth.shape[1]), dtype=bool)
    for topic in range(truth.shape[1]):
        if 0 < truth[:, topic].sum() < len(truth):
            machine = LogisticRegression(C=_C, max_iter=500).fit(places, truth[:, topic])
            scores[:, topic] = machine.predict_proba(pool)[:, 1]
            decided[:, topic] = machine.predict(dev)
    return scores, decided


def _print(curves: np.ndarray) -> None:
    table = Table("labels", "micro-F1 suggested", "random", "labels at random for it", "macro-F1 suggested", "random",
                  "labels at random for it", title=f"frozen encoder + logistic regression, mean of {len(curves)} seeds")
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
