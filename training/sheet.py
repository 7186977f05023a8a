"""The labelling sheet: documents to be labelled with a model's guess, as rows, for the page, and as Label Studio's tasks.

``FILE.jsonl`` holds a row a document whose ``topics`` are null until somebody fills them in; ``training.train`` takes it as it
is and leaves out what is not filled in. The page's import opens the same file: there each document shows what the served
model gives, is corrected or confirmed, and downloaded as rows. ``FILE-studio.json`` and ``FILE-studio.xml`` are the tasks, with
the guess as prediction, and the labelling configuration of a Label Studio project.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from serving.analysis import analyse
from serving.document import Document
from serving.errors import InputError
from serving.label_studio import labelling_config, to_task
from serving.model import Model, Scores
from serving.schema import Options
from serving.settings import get_settings
from training.prepare import write_jsonl
from training.selection import Choice
from training.sources import GUESS, is_waiting, raw_rows
from training.topics import Topic

_GROUP = 64  # documents scored together


def check_place(sheet: Path, inputs: Sequence[str]) -> None:
    """Whether a sheet can be written here, to be asked before the long work that it ends.

    Raises:
        InputError: it would lie in a folder of the archive, or overwrite rows that are more than a sheet nobody has begun.
    """
    for name in inputs:
        if Path(name).is_dir() and sheet.resolve().is_relative_to(Path(name).resolve()):
            raise InputError(f"--output: {sheet} lies inside the archive {name}: choose another place")
    problems: list[str] = []
    rows = raw_rows(str(sheet), problems) if sheet.is_file() else []
    if not all(is_waiting(raw) for _, raw in rows) or problems:
        raise InputError(f"--output: {sheet} holds labels, or is no labelling sheet, and would be overwritten: name another")


def score_all(model: Model, documents: Sequence[Document], progress: bool = True) -> list[Scores]:
    """What a model says of each document."""
    found: list[Scores] = []
    with tqdm(total=len(documents), desc="scoring", unit="doc", disable=not progress, mininterval=1) as bar:
        for start in range(0, len(documents), _GROUP):
            found += model.score(documents[start : start + _GROUP], get_settings().max_batch_tokens)
            bar.update(len(found) - bar.n)
    return found


def thresholds_of(model: Model) -> list[float] | None:
    """The topics' thresholds; None where a document has exactly one topic."""
    return None if model.single_label else [topic.threshold for topic in model.topics]


def topic_scores(scores: Sequence[Scores], topics: int) -> np.ndarray:
    """[documents, topics]."""
    return np.stack([one.topics for one in scores]) if scores else np.zeros((0, topics))


def write_sheet(
    output: Path, model: Model, documents: Sequence[Document], scores: Sequence[Scores], choices: Sequence[Choice],
    topics: Sequence[Topic],
) -> list[Path]:
    """Write the three files of a sheet, its documents in the order of ``choices``; returns their names.

    Args:
        output: the ``.jsonl`` file; the others stand beside it.
        topics: what a reader may choose from, which may be more than the model knows.
    """
    analyses = [
        analyse(documents[i], scores[i], model, Options(include_text=True)).model_dump() for i in (c.document for c in choices)
    ]
    rows = [_row(analysis, choice, scores[choice.document], model) for analysis, choice in zip(analyses, choices)]
    tasks, config = (output.with_name(f"{output.stem}-studio.{kind}") for kind in ("json", "xml"))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(output, rows)
    tasks.write_text(json.dumps([to_task(analysis) for analysis in analyses], ensure_ascii=False, indent=1) + "\n", "utf-8")
    config.write_text(labelling_config((topic.id, topic.name) for topic in topics), "utf-8")
    return [output, tasks, config]


def _row(analysis: dict[str, Any], choice: Choice, scores: Scores, model: Model) -> dict[str, Any]:
    given = [topic["id"] for topic in analysis["topics"]]
    why = f"{choice.unknown} ?" if choice.unknown else f"{model.topics[choice.topic].id} {scores.topics[choice.topic]:.2f}"
    return {
        "id": analysis["id"], "title": analysis["title"], "topics": None, GUESS: given,
        "why": why, "text": analysis["text"],
    }
