"""How many of the documents without labels have each topic.

Labels that were asked for, or drawn until each topic had some, hold rare topics far more often than the archive does. A model
that learns from the archive by its own judgement (``selftraining.py``) has to know by how much, and so have the choice between
recipes, calibration and thresholds (``calibrate.importance``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training import calibrate
from training.candidates import Linear, Material
from training.examples import Example
from training.trials import best_of, trials


def topic_shares(
    material: Material, examples: Sequence[Example], weak: Sequence[Example], folds: Sequence[Sequence[int]],
    *parts: Sequence[Example],
) -> list[np.ndarray] | None:
    """Of each part [T], counted by the decisions of linear heads on the encoder as it came, calibrated and given thresholds on
    the folds. A document cut to a window has fewer topics than the whole.

    None where no row has a topic, or each document has one, which was not measured. On the desk's own topics, 32 labels each,
    self-training did as well with these as with the true shares, a little worse with the mean of the probabilities, and worse
    again with their estimate by Saerens et al. 2002.
    """
    if material.single_label or not any(example.topics is not None and example.topics.any() for example in examples):
        return None
    recipe = Linear(replace(material, bare=[]))
    best = best_of(trials(recipe, examples, weak, folds, single_label=False))
    fitted, thresholds = calibrate.fit_decisions(examples, best.held.predictions, best.held.lexical, single_label=False)
    judged = {id(example): example for part in parts for example in part}  # one may be in several
    found = recipe.judge([*examples, *weak], best.setting, list(judged.values()))
    scores = fitted.probabilities(*calibrate.stacked(found.predictions, found.lexical), False)
    given = dict(zip(judged, scores >= thresholds))
    return [np.mean([given[id(example)] for example in part], axis=0) for part in parts]
