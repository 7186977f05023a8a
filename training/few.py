"""Training with few labels: the recipe is chosen by cross-validation, and nothing is held back from learning.

Each candidate learns from all folds but one and judges that one, in turn. These judgements of documents not learned from choose
recipe and setting, and then fit calibration, thresholds and summaries, in place of a dev part; the model learns from all rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from training.candidates import Contrastive, Full, Linear, Material, Words
from training.examples import Example, Parts, trim
from training.finish import Held, Outcome
from training.folds import make_folds
from training.graph import to_half
from training.lexicon import lexical_logits
from training.network import Network
from training.passes import Passes
from training.shares import topic_shares
from training.trials import Choice, best_of, trials

RECIPES = ("linear", "contrastive", "full")
FEW = 2_000  # rows; with more, --recipe auto is full without asking
FOLDS = 4
_MADE = {"linear": Linear, "contrastive": Contrastive, "full": Full}
_CHECKED = 32  # documents on which the exported graph is compared
_BARE_TOKENS = 400_000  # of documents without labels; each passes through the upper layers once a fold
_COUNTED_WINDOWS = 16  # of such a document, to count topics in, so that books leave room for some fifty of them
_FULL_FROM, _FULL_TOKENS = 100, 60_000  # rows, and tokens of all: fewer are too few to fine-tune on, more take an hour in folds


def candidates(wanted: str, rows: int, tokens: int, known: bool, bare: bool) -> tuple[str, ...]:
    """The recipes to try, the cheapest first.

    ``known`` says that training goes on from a model of some of the topics, ``bare`` that there are documents without labels.
    From these ``full`` can't learn: with 1,280 titles it was level with ``contrastive`` on the folds (0.867, 0.862), but not on
    other titles (0.837, 0.853).
    """
    if wanted != "auto":
        return (wanted,)
    tried = known or (rows >= _FULL_FROM and not bare)
    return RECIPES if tried and tokens <= _FULL_TOKENS else RECIPES[:2]


def train_few(
    material: Material, examples: Sequence[Example], weak: Sequence[Example], dev: Sequence[Example], wanted: str,
    say: Callable[[str], None],
) -> Outcome:
    """Choose, say what was chosen and why, and learn from all rows.

    ``weak`` rows are learned from in every fold, and judged in none; they are left out if they harm. ``dev`` rows, if there are
    any, are what calibration and thresholds are fitted on, in place of the rows that the folds held back.

    Raises:
        ValueError: the rows are too alike to make two folds.
    """
    short, whole = _within(material.bare, material.seed, say)
    material, shares = replace(material, bare=short), None
    parts = Parts(examples, weak, material.bare, dev)
    say(f"{parts}, {material.topics} topics, {material.body.freeze} layers frozen, on {material.body.accelerator.device}")
    folds = make_folds(examples, FOLDS, material.seed)
    if len(folds) < 2:
        raise ValueError(f"{len(examples)} rows are too few, or too alike, to choose by; add rows")
    material.body.keep([*examples, *weak, *material.bare])
    weak = _worth(material, examples, weak, folds, say)
    if material.bare:
        counted = topic_shares(material, examples, weak, folds, whole, material.bare)
        if counted:
            shares, material = counted[0], replace(material, shares=counted[1])
            _say_shares(material.ids, shares, examples, bool(dev), say)
    choices, tokens = [], sum(example.tokens for example in [*examples, *weak])
    known = bool(set(material.old) & set(material.ids))
    for name in candidates(wanted, len(examples), tokens, known, bool(material.bare)):
        recipe = _MADE[name](material)
        best = best_of(trials(recipe, examples, weak, folds, material.single_label, shares))
        scores = " ".join(f"{score:.3f}" for score in best.folds)
        say(f"recipe {name} ({best.setting}): {best.mean:.3f} (folds {scores})")
        choices.append(best)
    best = max(choices, key=lambda choice: choice.mean)  # of equal ones the first, which is the cheapest
    topics = any(example.topics is not None and example.topics.any() for example in examples)
    measure = "score of summaries" if not topics else "accuracy" if material.single_label else "average precision"
    others = ", ".join(f"{c.recipe.name} {c.mean:.3f}" for c in choices if c is not best)
    why = f"the best mean {measure} of {len(folds)} folds, {best.mean:.3f}" + (f", against {others}" if others else "")
    say(f"chosen: {best.recipe.name} ({best.setting}), {why if len(choices) > 1 else 'as asked for'}")
    network, words = best.recipe.fit([*examples, *weak], best.setting)
    notes = {
        "recipe": best.recipe.name, "setting": best.setting, "folds": [round(score, 5) for score in best.folds],
        "weak_documents": len(weak),
        "recipes_tried": {choice.recipe.name: round(choice.mean, 5) for choice in choices},
    }
    return _outcome(material, network, words, best, examples, dev, shares, notes)


def _say_shares(
    ids: Sequence[str], shares: np.ndarray, examples: Sequence[Example], dev: bool, say: Callable[[str], None]
) -> None:
    own = np.mean([example.topics for example in examples if example.topics is not None], axis=0)
    pairs = ", ".join(f"{i} {there:.1%} ({here:.1%})" for i, there, here in zip(ids, shares, own))
    use = "recipes are compared by (scores and thresholds follow the dev part as it is)" if dev else "decisions are fitted to"
    say(f"topics of the documents without labels (of those with), which {use}: {pairs}")


def _worth(
    material: Material, examples: Sequence[Example], weak: Sequence[Example], folds: Sequence[Sequence[int]],
    say: Callable[[str], None],
) -> Sequence[Example]:
    """The weak rows, or none where linear heads judge the folds better without them and no topic has weak rows alone.

    Labels that agree with the real ones in 93 of 100 titles lifted accuracy by 0.07 at 8 a topic; 82 of 100, nearly all of a few
    topics, lowered it by 0.05 at any weight.
    """
    given = [example.topics for example in examples if example.topics is not None]
    if not weak or not given or not np.any(given, axis=0).all():
        return weak
    recipe = Linear(material)
    beside, alone = (
        max(choice.mean for choice in trials(recipe, examples, part, folds, material.single_label)) for part in (weak, [])
    )
    if beside >= alone:
        return weak
    say(f"the {len(weak)} weakly labelled rows are left out: without them linear heads reach {alone:.3f} on the folds, with them "
        f"{beside:.3f}")
    return []


def _outcome(
    material: Material, network: Network, words: Words | None, best: Choice, examples: Sequence[Example],
    dev: Sequence[Example], shares: np.ndarray | None, notes: dict[str, Any],
) -> Outcome:
    """What the network, as it is stored, says of the documents that are checked, and of the dev part if there is one."""
    accelerator = material.body.accelerator
    passes = Passes(network.to(accelerator.device), material.body.pad, accelerator)
    part = dev or examples
    before = passes.predict(part[:_CHECKED], exact=True)
    to_half(network)
    predictions = passes.predict(dev or part[:_CHECKED], exact=True)
    exact = Held(part, predictions, lexical_logits(words, part))
    held = exact if dev else Held(examples, best.held.predictions, best.held.lexical, shares)
    return Outcome(network, words, held, exact.first(_CHECKED), before, notes)


def _within(bare: Sequence[Example], seed: int, say: Callable[[str], None]) -> tuple[list[Example], list[Example]]:
    """The documents without labels, a window of each, at most so many tokens together; and the first of them whole, or nearly,
    with as many tokens at most, which may be fewer."""
    tokens, counted, kept, whole = 0, 0, [], []
    for example in random.Random(seed).sample(list(bare), len(bare)):
        short = trim(example, 1, seed)
        if tokens + short.tokens > _BARE_TOKENS:
            say(f"of {len(bare)} documents without labels {len(kept)} are learned from: more would take long")
            break
        tokens += short.tokens
        kept.append(short)
        long = trim(example, _COUNTED_WINDOWS, seed)
        counted += long.tokens
        if not whole or counted <= _BARE_TOKENS:
            whole.append(long)
    return kept, whole
