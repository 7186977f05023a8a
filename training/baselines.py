"""What simpler methods reach on the same split, beside a model folder, in one table.

    python -m training.baselines --train TRAIN --dev DEV --test TEST [--model DIR] [--encoder DIR] [--json FILE]

Topics: TF-IDF of character n-grams + LinearSVC, and the frozen encoder's mean sentence vectors + logistic regression;
regularisation is chosen on the dev part, and, where the table says so, calibration and thresholds too, as the model's. Key
sentences: LEAD (the first ones) and TextRank (Mihalcea & Tarau 2004) on jieba's words, as many sentences as the length of the
text allows (the model may take fewer).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import jieba
import networkx as nx
import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tqdm import tqdm

from serving.calibration import sigmoid
from serving.document import Document
from serving.folder import read_config
from serving.settings import ROOT
from serving.summary import sentence_budget
from serving.windows import collate, normalise, plan_batches
from training.calibrate import choose_thresholds, fit_calibration
from training.data import Row, read_rows, topics_of
from training.encoder import load_encoder, window_config
from training.errors import faults_told
from training.evaluate import evaluate
from training.examples import Example, flat_windows, key_labels, make_examples, read_documents
from training.metrics import key_sentence_f1, topic_metrics
from training.recipe import ENCODER

_COLUMNS = ("micro_f1", "macro_f1", "map", "exact_match", "key_sentence_f1")
_C_SVC = (0.1, 0.3, 1.0, 3.0)
_C_LOGISTIC = (0.001, 0.003, 0.01, 0.03, 0.1)


@click.command(help=__doc__)
@click.option("--train", "train_file", required=True)
@click.option("--dev", "dev_file", required=True)
@click.option("--test", "test_file", required=True)
@click.option("--model", type=click.Path(path_type=Path), default=ROOT / "models" / "default", show_default="models/default")
@click.option("--encoder", default=ENCODER, show_default="models/encoder")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(train_file: str, dev_file: str, test_file: str, model: Path, encoder: str, json_file: Path | None) -> None:
    """Command line."""
    jieba.setLogLevel(logging.WARNING)
    with faults_told():
        parts = [read_rows(name) for name in (train_file, dev_file, test_file)]
        figures = compare(parts, model, encoder)
    table = Table(escape("on " + Path(test_file).name), *_COLUMNS)
    for name, row in figures.items():
        table.add_row(escape(name), *("–" if row.get(column) is None else f"{row[column]:.3f}" for column in _COLUMNS))
    Console().print(table)
    if json_file:
        json_file.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", "utf-8")


def compare(parts: Sequence[Sequence[Row]], model: Path, encoder: str) -> dict[str, dict[str, Any]]:
    """Figures by method, of the last of the three parts (train, dev, test). ``model`` is among them if its topics are theirs.

    Rows that do not say which topics they have count for key sentences alone.

    Raises:
        ValueError: the rows have no topics to tell apart.
    """
    documents = {where: document for rows in parts for where, document in read_documents(rows).items()}
    train, dev, test = ([row for row in rows if row.where in documents] for rows in parts)
    ids = [topic.id for topic in topics_of(train)]
    if not all(any(row.topics for row in rows) for rows in (train, dev, test)):
        raise ValueError("no row of the training, dev or test part has a topic; there is nothing to compare")
    figures: dict[str, dict[str, Any]] = {}
    topical = [[row for row in rows if row.topics is not None] for rows in (train, dev, test)]
    features = _tfidf(documents, *topical)
    plain, tuned = _classify(features, topical, ids, lambda c: LinearSVC(C=c), _C_SVC)
    figures["TF-IDF + LinearSVC"] = plain
    figures["TF-IDF + LinearSVC, thresholds tuned"] = tuned
    features = _frozen(encoder, documents, *topical)
    _, figures["frozen encoder + logistic regression, thresholds tuned"] = _classify(
        features, topical, ids, lambda c: LogisticRegression(C=c, max_iter=1000), _C_LOGISTIC
    )
    figures["LEAD"] = {"key_sentence_f1": _keys(test, documents, lambda document, budget: set(range(budget)))}
    figures["TextRank"] = {"key_sentence_f1": _keys(test, documents, textrank)}
    if {topic["id"] for topic in read_config(model)["topics"]}.isdisjoint(ids):
        click.echo(f"note: {model} knows none of these topics, so it is left out; name yours with --model", err=True)
    else:
        figures[f"{model.name} (this model)"] = evaluate(model, test, documents, progress=True)
    return figures


def _tfidf(documents: dict[str, Document], *parts: Sequence[Row]) -> list[Any]:
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True, max_features=300_000)
    first, *rest = ([normalise(f"{row.title} {documents[row.where].text}") for row in rows] for rows in parts)
    return [vectorizer.fit_transform(first), *(vectorizer.transform(texts) for texts in rest)]


def _frozen(encoder: str, documents: dict[str, Document], *parts: Sequence[Row]) -> list[np.ndarray]:
    """Mean of a document's token vectors beside that of its first window, standardised by the first part."""
    module, tokenizer, _ = load_encoder(encoder)
    windows = window_config(tokenizer, 128, 32)
    module.eval()
    sets = [make_examples(rows, [], tokenizer.backend_tokenizer, windows, documents) for rows in parts]
    vectors = [_embed(module, examples, windows.pad) for examples in sets]
    scaler = StandardScaler().fit(vectors[0])
    return [scaler.transform(part) for part in vectors]


@torch.no_grad()
def _embed(module: torch.nn.Module, examples: Sequence[Example], pad: int) -> np.ndarray:
    flat = list(flat_windows(examples))
    features = [example.features for example in examples]
    sums = np.zeros((len(examples), 2, module.config.hidden_size), dtype=np.float32)
    counts = np.zeros((len(examples), 2, 1), dtype=np.float32)
    first = {id(example.windows[0]) for example in examples}
    bar = tqdm(total=len(flat), desc="embedding", unit="window", mininterval=1)
    for group in plan_batches([window for _, window in flat], 4096):
        batch = collate([flat[i] for i in group], features, pad)
        mask = torch.from_numpy(batch.attention_mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = module(input_ids=torch.from_numpy(batch.input_ids), attention_mask=mask).last_hidden_state.float()
        for i, total, count in zip(group, (states * mask[..., None]).sum(1).numpy(), mask.sum(1).numpy()):
            document, window = flat[i]
            for part in (0, 1) if id(window) in first else (0,):
                sums[document, part] += total
                counts[document, part] += count
        bar.update(len(group))
    bar.close()
    return (sums / counts).reshape(len(examples), -1)


def _classify(
    features: Sequence[Any], parts: Sequence[Sequence[Row]], ids: Sequence[str], make: Callable[[float], Any],
    strengths: Sequence[float],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit on train with the strength that ranks best on dev; figures on test of its own decisions, and of those with
    calibration and thresholds from dev, as the model's."""
    truth = [np.array([[topic in (row.topics or ()) for topic in ids] for row in rows], int) for rows in parts]
    fitted = [OneVsRestClassifier(make(c)).fit(features[0], truth[0]) for c in strengths]
    ranked = [average_precision_score(truth[1], _decisions(e, features[1]), average="micro") for e in fitted]
    best = fitted[int(np.argmax(ranked))]
    dev, test = (_decisions(best, part) for part in features[1:])
    calibration = fit_calibration(dev, None, truth[1], single_label=False)
    thresholds = choose_thresholds(calibration.probabilities(dev, None, False), truth[1])
    scores = calibration.probabilities(test, None, False)
    return (
        topic_metrics(truth[2], sigmoid(test), (test > 0).astype(int), ids, single_label=False),
        topic_metrics(truth[2], scores, (scores >= thresholds).astype(int), ids, single_label=False),
    )


def _decisions(fitted: OneVsRestClassifier, features: Any) -> np.ndarray:
    """[documents, topics], of one topic too."""
    return fitted.decision_function(features).reshape(features.shape[0], -1)


def _keys(
    rows: Sequence[Row], documents: dict[str, Document], choose: Callable[[Document, int], set[int]]
) -> float | None:
    gold, chosen = [], []
    for row in rows:
        document = documents[row.where]
        gold.append(set(np.flatnonzero(key_labels(document, row)).tolist()) if row.key_sentences else set())
        chosen.append(choose(document, min(sentence_budget(len(document.text)), len(document.sentences))))
    return key_sentence_f1(gold, chosen)


def textrank(document: Document, budget: int) -> set[int]:
    """The ``budget`` sentences with the highest PageRank in the graph of word overlap."""
    words = [{w for w in jieba.cut(normalise(s)) if len(w) > 1} for s in document.sentence_texts()]
    graph = nx.Graph()
    graph.add_nodes_from(range(len(words)))
    for i, a in enumerate(words):
        for j in range(i):
            common = len(a & words[j])
            if common and len(a) > 1 and len(words[j]) > 1:
                graph.add_edge(i, j, weight=common / (np.log(len(a)) + np.log(len(words[j]))))
    ranks = nx.pagerank(graph)
    return set(sorted(ranks, key=lambda i: (-ranks[i], i))[:budget])


if __name__ == "__main__":
    main()
