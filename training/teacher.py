"""What a model that exists thinks of each document: soft labels to learn from, beside or in place of a reader's.

Distillation (Hinton et al. 2015, "Distilling the knowledge in a neural network"). The teacher's scores are those that it would
serve, its lexicon's part and calibration included; several teachers' are averaged, so an ensemble becomes one network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from serving.document import Document
from serving.folder import read_config
from serving.model import Model
from serving.settings import get_settings
from training.examples import Example, Lesson

_GROUP = 64  # documents scored together


def check_teachers(folders: Sequence[Path], ids: Sequence[str], single_label: bool) -> list[dict[str, str]]:
    """Refuse what can't teach, before anything long begins. Returns the hashes of each teacher's files.

    Raises:
        ValueError: a teacher has other topics, or one topic a document where several are to be learned, or the reverse.
        ModelError: a folder holds no model.
    """
    files = []
    for folder in folders:
        config = read_config(folder)
        if {topic["id"] for topic in config["topics"]} != set(ids):
            raise ValueError(f"--teacher {folder}: its topics are not the same topics as those to be trained")
        if config["single_label"] != single_label:
            raise ValueError(f"--teacher {folder}: only one of the two, teacher and model to be trained, is --single-label")
        files.append(config["files"])
    return files


def teach(
    examples: Sequence[Example], folders: Sequence[Path], ids: Sequence[str], threads: int, progress: bool
) -> list[Example]:
    """The examples with the mean of the teachers' scores; ``check_teachers`` has found no fault."""
    lessons: list[Lesson] | None = None
    for folder in folders:
        model = Model.load(folder, threads=threads)
        own = [topic.id for topic in model.topics]
        columns = [own.index(i) for i in ids]
        found = _lessons(model, columns, [example.document for example in examples], f"teacher {folder.name}", progress)
        lessons = found if lessons is None else [_sum(a, b) for a, b in zip(lessons, found)]
    share = np.float32(1 / len(folders))
    lessons = [Lesson(x.topics * share, x.evidence * share, x.salience * share) for x in lessons]
    return [replace(example, lesson=lesson) for example, lesson in zip(examples, lessons)]


def _sum(a: Lesson, b: Lesson) -> Lesson:
    return Lesson(a.topics + b.topics, a.evidence + b.evidence, a.salience + b.salience)


def _lessons(model: Model, columns: list[int], documents: Sequence[Document], name: str, progress: bool) -> list[Lesson]:
    lessons = []
    with tqdm(total=len(documents), desc=name, unit="doc", disable=not progress, mininterval=1) as bar:
        for start in range(0, len(documents), _GROUP):
            group = documents[start : start + _GROUP]
            for scores in model.score(group, get_settings().max_batch_tokens):
                arrays = scores.topics[columns], scores.evidence[:, columns], scores.salience
                lessons.append(Lesson(*(np.asarray(array, np.float32) for array in arrays)))
            bar.update(len(group))
    return lessons
