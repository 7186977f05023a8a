"""What learns from few labels: the tasks, the methods that are compared, and the figure of each. See ``learning_curves.py``."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pyarrow.parquet as pq
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from training.prepare import read_jsonl, write_jsonl

TASKS = ("thucnews_title", "xwlb_topics_multilabel", "own")
DEV = {"thucnews_title": 2_000, "xwlb_topics_multilabel": 600, "own": 294}  # documents that figures are of
UNLABELLED = {"thucnews_title": 8_000, "xwlb_topics_multilabel": 2_000, "own": 2_000}
ENCODER = ROOT / "models" / "encoder"
SETFIT_STEPS = 300
Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A task's rows (text, title, topics) and the topics that are measured."""

    name: str
    train: list[Row]
    dev: list[Row]

    @property
    def single(self) -> bool:
        """Whether each document has one topic."""
        return self.name == "thucnews_title"

    @property
    def topics(self) -> list[str]:
        """Sorted."""
        return sorted({topic for row in self.train for topic in row["topics"]})

    def draw(self, shots: int, seed: int) -> tuple[list[Row], list[Row]]:
        """Rows until each topic has ``shots``, rarest first, with rows of no topic in the share that they have; and the rest."""
        order = random.Random(seed).sample(range(len(self.train)), len(self.train))
        have: Counter[str] = Counter()
        common = Counter(topic for row in self.train for topic in row["topics"])
        chosen: list[int] = []
        for topic in sorted(self.topics, key=lambda topic: common[topic]):
            for i in order:
                if have[topic] >= shots:
                    break
                if topic in self.train[i]["topics"] and i not in chosen:
                    chosen.append(i)
                    have.update(self.train[i]["topics"])
        bare = [i for i in order if not self.train[i]["topics"]]
        chosen.extend(bare[: round(len(chosen) * len(bare) / max(len(self.train) - len(bare), 1))])
        taken = set(chosen)
        return [self.train[i] for i in sorted(taken)], [self.train[i] for i in order if i not in taken]


@cache
def load(name: str, bench: Path, data: Path) -> Task:
    """Rows of a task."""
    if name == "own":
        kept = ("text", "title", "topics", "evidence")
        train, dev = ([{k: row[k] for k in kept if k in row} for row in read_jsonl(data / f"{part}.jsonl")]
                      for part in ("train", "dev"))
    else:
        train, dev = (
            [{"text": row["text"], "title": row.get("title") or "", "topics": list(row["labels"])}
             for row in pq.read_table(bench / name / f"{part}.parquet").to_pylist()]
            for part in ("train", "dev")
        )
    return Task(name, train, random.Random(0).sample(dev, min(DEV[name], len(dev))))


def texts(rows: Sequence[Row]) -> list[str]:
    """Title and text in one."""
    return [f"{row['title']} {row['text']}".strip() for row in rows]


def truth(task: Task, rows: Sequence[Row]) -> np.ndarray:
    """0/1 [rows, topics]."""
    return np.array([[topic in row["topics"] for topic in task.topics] for row in rows], int)


def figure(task: Task, scores: np.ndarray, border: float) -> float:
    """Accuracy, or micro-F1 of what is above ``border``."""
    gold = truth(task, task.dev)
    if task.single:
        return float((scores.argmax(1) == gold.argmax(1)).mean())
    return float(f1_score(gold, scores > border, average="micro"))


def tfidf(task: Task, shots: int, seed: int) -> dict[str, Any]:
    """Character n-grams."""
    rows, _ = task.draw(shots, seed)
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    fitted = OneVsRestClassifier(LinearSVC()).fit(vectorizer.fit_transform(texts(rows)), truth(task, rows))
    return {"figure": figure(task, fitted.decision_function(vectorizer.transform(texts(task.dev))), 0.0)}


@cache
def _encoder() -> Any:
    from training.devices import make_accelerator
    from training.encoder import load_encoder, window_config
    from training.vectors import Body

    module, tokenizer, _ = load_encoder(str(ENCODER))
    windows = window_config(tokenizer, 128, 32)
    return Body(module, 0, windows.pad, make_accelerator("cpu")), tokenizer.backend_tokenizer, windows


_VECTORS: dict[tuple[str, str], np.ndarray] = {}


def vectors(rows: Sequence[Row]) -> np.ndarray:
    """The encoder's mean vector of each document's first two windows, [rows, 2 H]; computed once for each."""
    from training.data import Row as Labelled
    from training.examples import make_examples, trim

    body, tokenizer, windows = _encoder()
    keys = [(row["title"], row["text"]) for row in rows]
    missing = [key for key in dict.fromkeys(keys) if key not in _VECTORS]
    rows = [Labelled(text, None, None, None, title, str(i), str(i)) for i, (title, text) in enumerate(missing)]
    examples = [trim(example, 2, 0) for example in make_examples(rows, [], tokenizer, windows)]
    found = {int(e.row.where): one.rows.mean(axis=0) for e, one in zip(examples, body.vectors(examples))}
    nothing = np.zeros(2 * body.encoder.config.hidden_size, np.float32)
    _VECTORS.update((key, found.get(i, nothing)) for i, key in enumerate(missing))
    return np.stack([_VECTORS[key] for key in keys])


def frozen(task: Task, shots: int, seed: int) -> dict[str, Any]:
    """Logistic regression on the encoder's vectors."""
    rows, _ = task.draw(shots, seed)
    scaler = StandardScaler().fit(vectors(rows))
    machine = OneVsRestClassifier(LogisticRegression(C=0.003 if task.single else 0.03, max_iter=500))
    fitted = machine.fit(scaler.transform(vectors(rows)), truth(task, rows))
    return {"figure": figure(task, fitted.decision_function(scaler.transform(vectors(task.dev))), 0.0)}


def setfit(task: Task, shots: int, seed: int) -> dict[str, Any] | None:
    """The library, with its defaults but for the number of steps and 128 tokens."""
    if importlib.util.find_spec("setfit") is None:
        return None
    import transformers.training_args as arguments

    if not hasattr(arguments, "default_logdir"):  # setfit 1.2 imports it; transformers 5 has no such function any more
        arguments.default_logdir = lambda: tempfile.mkdtemp()
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, models
    from setfit import SetFitModel, Trainer, TrainingArguments

    rows, _ = task.draw(shots, seed)
    word = models.Transformer(str(ENCODER), max_seq_length=128)
    word.auto_model.float()  # as it is stored, in fp16, it learns to be NaN
    body = SentenceTransformer(modules=[word, models.Pooling(word.get_word_embedding_dimension())], device="cpu")
    labels = truth(task, rows)
    head = LogisticRegression(max_iter=500)
    model = SetFitModel(body, head if task.single else OneVsRestClassifier(head),
                        multi_target_strategy=None if task.single else "one-vs-rest")
    data = Dataset.from_dict({"text": texts(rows), "label": (labels.argmax(1) if task.single else labels).tolist()})
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, batch_size=16, max_steps=SETFIT_STEPS, seed=seed, report_to="none", save_strategy="no",
            use_amp=False,
        )
        Trainer(model=model, args=settings, train_dataset=data).train()
    return {"figure": figure(task, np.asarray(model.predict_proba(texts(task.dev), as_numpy=True)), 0.5)}


def _train(task: Task, shots: int, seed: int, recipe: str, unlabelled: bool) -> dict[str, Any]:
    """``training.train`` and ``training.evaluate``, as a user would call them."""
    rows, rest = task.draw(shots, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(folder / "train.jsonl", rows)
        write_jsonl(folder / "dev.jsonl", task.dev)
        options = ["--single-label"] if task.single else []
        if unlabelled:
            bare = ({"text": row["text"], "title": row["title"]} for row in rest[: UNLABELLED[task.name]])
            write_jsonl(folder / "bare.jsonl", bare)
            options += ["--unlabelled", str(folder / "bare.jsonl")]
        _run("training.train", "--data", folder / "train.jsonl", "--output", folder / "model", "--recipe", recipe, "--seed", seed,
             "--encoder", ENCODER, *options)
        _run("training.evaluate", "--model", folder / "model", "--data", folder / "dev.jsonl", "--json", folder / "figures.json")
        figures = json.loads((folder / "figures.json").read_text("utf-8"))
        notes = json.loads((folder / "model" / "config.json").read_text("utf-8"))["training"]
    return {
        "figure": figures["accuracy"] if task.single else figures["micro_f1"], "macro_f1": figures["macro_f1"],
        "map": figures["map"], "recipe": notes["recipe"], "setting": notes.get("setting"), "tried": notes.get("recipes_tried"),
    }


def _run(module: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def zero(task: Task, seed: int) -> dict[str, Any] | None:
    """No label: the topics' names and descriptions, and 4,000 training documents as the archive."""
    try:
        from benchmarks.zero_labels import part_of, topics_of, zero_labels
        from training.space import Encoder
        from training.topics import read_topics
    except ImportError:
        return None
    topics = read_topics(ROOT / "training" / "data" / "topics.yaml") if task.name == "own" else topics_of(task.name)
    archive, dev = (
        part_of(rows, topics) for rows in (random.Random(seed).sample(task.train, min(4_000, len(task.train))), task.dev)
    )
    figures = zero_labels(archive, dev, topics, Encoder(str(ENCODER)), task.single)
    return {"figure": float(figures["micro_f1"])}  # which is accuracy where each has one topic


METHODS: dict[str, Callable[[Task, int, int], dict[str, Any] | None]] = {
    "TF-IDF": tfidf,
    "frozen": frozen,
    "SetFit": setfit,
    "linear": lambda task, shots, seed: _train(task, shots, seed, "linear", False),
    "contrastive": lambda task, shots, seed: _train(task, shots, seed, "contrastive", False),
    "full": lambda task, shots, seed: _train(task, shots, seed, "full", False),
    "auto": lambda task, shots, seed: _train(task, shots, seed, "auto", False),
    "contrastive unlabelled": lambda task, shots, seed: _train(task, shots, seed, "contrastive", True),
    "auto unlabelled": lambda task, shots, seed: _train(task, shots, seed, "auto", True),
}
