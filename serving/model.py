"""A model folder, loaded and checked; documents -> windows -> one forward pass -> scores.

Inference runs on OpenVINO: of what was measured on CPUs it is the fastest at equal scores, and it needs no torch.
The choice is this file's alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from tokenizers import Tokenizer

from serving.calibration import Calibration, sigmoid
from serving.document import Document
from serving.errors import ModelError
from serving.features import FEATURES, sentence_features
from serving.lexicon import Lexicon
from serving.windows import TITLE, Tokens, Window, WindowConfig, collate, document_tokens, plan_batches, split_windows

FORMAT = 4
CONFIG, GRAPH, WEIGHTS, TOKENIZER, LEXICON = "config.json", "graph.xml", "model.safetensors", "tokenizer.json", "lexicon.npy"
_SHAPE_STEP = 16  # batch sizes are rounded up to this many tokens: OpenVINO compiles kernels (8 ms) for each new shape


@dataclass(frozen=True)
class TopicInfo:
    """A topic that the model knows, and the score from which it is given."""

    id: str
    name: str
    description: str
    threshold: float


@dataclass(frozen=True)
class Scores:
    """Calibrated scores of one document: ``topics`` [T], ``evidence`` [sentences, T], ``salience`` [sentences]."""

    topics: np.ndarray
    evidence: np.ndarray
    salience: np.ndarray


@dataclass(eq=False)
class Job:
    """A document that is being scored: what the forward passes are given, and the sums of what they have said so far.

    ``sums`` is float32 [1 + sentences, T + 1], ``counts`` float32 [1 + sentences]; row 0 is the title.
    """

    windows: list[Window]
    tokens: Tokens
    features: np.ndarray
    sums: np.ndarray
    counts: np.ndarray


class Model:
    """A loaded model folder. Any thread may use it; up to ``streams`` of them get forward passes at the same time."""

    def __init__(
        self, folder: Path, config: dict[str, Any], graph: ov.CompiledModel, tokenizer: Tokenizer, lexicon: Lexicon | None
    ) -> None:
        self.config = config
        self.topics = [TopicInfo(t["id"], t["name"], t["description"], t["threshold"]) for t in config["topics"]]
        self.single_label: bool = config["single_label"]
        self.redundancy: float = config["summary"]["redundancy"]
        self.floor: float = config["summary"]["floor"]
        self.version = hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()[:7]
        self.name = f"{folder.resolve().name}@{self.version}"
        self.windows = WindowConfig(**config["windows"])
        self._sharpness = np.asarray(config["sharpness"], dtype=np.float32)
        self._calibration = Calibration.from_config(config["calibration"])
        self._graph, self._tokenizer, self._lexicon = graph, tokenizer, lexicon
        self._of_thread, self._adding = threading.local(), threading.Lock()

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 1, streams: int = 1, precision: str = "auto") -> Model:
        """Load a model folder after checking the SHA-256 of each of its files.

        Args:
            folder: as written by ``python -m training.train``.
            threads: threads of one forward pass.
            streams: forward passes at the same time; further ones wait.
            precision: ``f32``, ``bf16``, or ``auto`` for bf16 where the processor computes in it.

        Raises:
            ModelError: the folder is missing, incomplete or damaged.
        """
        folder = Path(folder)
        config = read_config(folder)
        core = ov.Core()
        # Mapped weights that somebody copies over end the process (SIGBUS); in memory of its own they cost 20 MB.
        core.set_property({"ENABLE_MMAP": False})
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads * streams, "NUM_STREAMS": streams, "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # else processes of one thread each all sit on the first core
        }
        if precision != "auto":
            options["INFERENCE_PRECISION_HINT"] = precision
        try:
            graph = core.compile_model(core.read_model(folder / GRAPH, folder / WEIGHTS), "CPU", options)
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            words = config["lexicon"]
            lexicon = None if words is None else Lexicon.load(folder / LEXICON, words["bias"])
            return cls(folder, config, graph, tokenizer, lexicon)
        except Exception as error:  # OpenVINO and tokenizers raise bare exceptions of their own
            raise ModelError(f"the model in {folder} can't be loaded ({error}); train or fetch it again") from error

    def split(self, document: Document) -> list[Window]:
        """The document's windows."""
        return split_windows(document, self._tokenizer, self.windows)

    def score(self, documents: Sequence[Document], max_batch_tokens: int) -> list[Scores]:
        """Score documents together; the windows of all are batched by length."""
        jobs = [self.begin(document) for document in documents]
        flat = [(job, window) for job in jobs for window in job.windows]
        for group in plan_batches([window for _, window in flat], max_batch_tokens):
            self.forward([flat[i] for i in group])
        return [self.finish(job) for job in jobs]

    def begin(self, document: Document) -> Job:
        """Split a document, for ``forward`` to be given each of its windows once, in any order and beside any others."""
        windows = self.split(document)
        tokens = document_tokens(windows)
        rows = 1 + len(document.sentences)
        sums = np.zeros((rows, len(self.topics) + 1), dtype=np.float32)
        return Job(windows, tokens, sentence_features(document, tokens), sums, np.zeros(rows, dtype=np.float32))

    def forward(self, batch: Sequence[tuple[Job, Window]]) -> tuple[int, int]:
        """One forward pass over windows, whose scores are added to their jobs.

        Returns:
            the tokens of the windows, and those of the padding beside them.
        """
        jobs = list(dict.fromkeys(job for job, _ in batch))
        place = {job: i for i, job in enumerate(jobs)}
        features = [job.features for job in jobs]
        inputs = collate([(place[job], window) for job, window in batch], features, self.windows.pad, _SHAPE_STEP)
        scores = self._infer([inputs.input_ids, inputs.attention_mask, inputs.piece_mask, inputs.features])
        with self._adding:
            for row, column, document, sentence in inputs.owners:
                jobs[document].sums[sentence - TITLE] += scores[row, column]
                jobs[document].counts[sentence - TITLE] += 1
        tokens = int(inputs.attention_mask.sum())
        return tokens, inputs.input_ids.size - tokens

    def _infer(self, inputs: list[np.ndarray]) -> np.ndarray:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._graph.create_infer_request()
        return self._of_thread.request.infer(inputs)[0]

    def finish(self, job: Job) -> Scores:
        """The scores of a document all of whose windows have been through ``forward``."""
        read = job.counts > 0
        logits = job.sums[read] / job.counts[read, None]
        body = logits[int(read[0]) :]
        pooled = pool(logits[:, :-1], self._sharpness)
        words, by_sentence = self._lexicon.score(job.tokens, len(body)) if self._lexicon else (None, None)
        topics, evidence = (
            self._calibration.probabilities(network, lexical, self.single_label)
            for network, lexical in ((pooled, words), (body[:, :-1], by_sentence))
        )
        return Scores(topics, evidence, sigmoid(body[:, -1]))


def pool(logits: np.ndarray, sharpness: np.ndarray) -> np.ndarray:
    """Smooth maximum over rows: [N, T] -> [T], ``log(mean(exp(r * s))) / r``; see ``training/network.py``."""
    scaled = logits * sharpness
    top = scaled.max(axis=0)
    return (top + np.log(np.exp(scaled - top).mean(axis=0))) / sharpness


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's configuration, once every file in it has the hash that the configuration states.

    Raises:
        ModelError: with what is wrong and what to do.
    """
    advice = "train one with 'python -m training.train', or point WENZHAI_MODEL (or --model) at a model folder"
    if not (folder / CONFIG).is_file():
        raise ModelError(f"there is no model in {folder} (no {CONFIG}); {advice}")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        version = config["format"]
        if version == FORMAT:
            _check_fields(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / CONFIG} is damaged, or not a model's configuration ({error!r}); {advice}") from error
    if version != FORMAT:
        raise ModelError(f"the model in {folder} has format {version}, this version reads format {FORMAT}; {advice}")
    for name, expected in config["files"].items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path} is missing; fetch the model folder again, whole")
        if sha256(path) != expected:
            raise ModelError(f"{path} is damaged: its SHA-256 is not the one in {CONFIG}; fetch the model folder again")
    return config


def _check_fields(config: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError unless all that is used below is there: a service must not find out later."""
    topics = config["topics"]
    for topic in topics:
        TopicInfo(str(topic["id"]), str(topic["name"]), str(topic["description"]), _number(topic["threshold"]))
    sharpness, calibration, lexicon = config["sharpness"], config["calibration"], config["lexicon"]
    bias = [0.0] * len(topics) if lexicon is None else lexicon["bias"]
    if not len(topics) == len(sharpness) == len(calibration["offsets"]) == len(bias):
        raise ValueError("topics, sharpness, calibration offsets and lexicon differ in number")
    weights = calibration["slope"], calibration["lexicon"], config["summary"]["redundancy"], config["summary"]["floor"]
    for value in (*sharpness, *calibration["offsets"], *bias, *weights):
        _number(value)
    if not all(value > 0 for value in sharpness) or not isinstance(config["single_label"], bool):
        raise ValueError("sharpness must be positive, single_label true or false")
    windows = WindowConfig(**config["windows"])
    if windows.max_tokens < 32 or windows.max_title_tokens < 0:
        raise ValueError("windows of fewer than 32 tokens")
    if tuple(config["features"]) != FEATURES:
        raise ValueError("it was trained on other features of sentences than this version computes")
    missing = {GRAPH, WEIGHTS, TOKENIZER, *([] if lexicon is None else [LEXICON])} - config["files"].keys()
    if missing:
        raise ValueError(f"it names no {', '.join(sorted(missing))}")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return value


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
