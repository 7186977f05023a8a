"""A model folder, loaded and checked; documents -> windows -> one forward pass -> scores.

Inference runs on OpenVINO: of what was measured on CPUs it is the fastest at equal scores, and it needs no torch.
The choice is this file's alone.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from tokenizers import Tokenizer

from serving.calibration import Calibration, sigmoid
from serving.context import WIDTH, Context
from serving.document import Document
from serving.errors import ModelError
from serving.features import sentence_features
from serving.folder import CONFIG, CONTEXT, GRAPH, LEXICON, TOKENIZER, WEIGHTS, in_context, read_config, summary_rule
from serving.lexicon import Lexicon
from serving.windows import TITLE, Tokens, Window, WindowConfig, collate, document_tokens, plan_batches, split_windows

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

    ``sums`` is float32 [1 + sentences, columns of the graph], ``counts`` float32 [1 + sentences]; row 0 is the title.
    """

    windows: list[Window]
    tokens: Tokens
    features: np.ndarray
    sums: np.ndarray
    counts: np.ndarray


class Model:
    """A loaded model folder. Any thread may use it; up to ``streams`` of them get forward passes at the same time."""

    def __init__(
        self, folder: Path, config: dict[str, Any], graph: ov.CompiledModel, tokenizer: Tokenizer, lexicon: Lexicon | None,
        context: Context | None,
    ) -> None:
        self.config = config
        self.topics = [TopicInfo(t["id"], t["name"], t["description"], t["threshold"]) for t in config["topics"]]
        self.single_label: bool = config["single_label"]
        self.rule = summary_rule(config)
        self.version = hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()[:7]
        self.name = f"{folder.resolve().name}@{self.version}"
        self.windows = WindowConfig(**config["windows"])
        self._sharpness = np.asarray(config["sharpness"], dtype=np.float32)
        self._calibration = Calibration.from_config(config["calibration"])
        self._graph, self._tokenizer, self._lexicon, self._context = graph, tokenizer, lexicon, context
        self._columns = len(self.topics) + 1 + (WIDTH if context else 0)  # topics, salience, what the context is given
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
            context = Context.load(folder / CONTEXT) if in_context(config) else None
            model = cls(folder, config, graph, tokenizer, lexicon, context)
            if graph.output(0).partial_shape[2] != model._columns:
                raise ValueError(f"its graph gives {graph.output(0).partial_shape[2]} scores a sentence, not {model._columns}")
            return model
        except Exception as error:  # OpenVINO and tokenizers raise bare exceptions of their own
            raise ModelError(f"the model in {folder} can't be loaded ({error}); train or fetch it again") from error

    def split(self, document: Document) -> list[Window]:
        """The document's windows."""
        return split_windows(document, self._tokenizer, self.windows)

    def score(self, documents: Sequence[Document], max_batch_tokens: int) -> list[Scores]:
        """Score documents together; the windows of all are batched by length."""
        return [self.finish(job) for job in self.run(documents, max_batch_tokens)]

    def run(self, documents: Sequence[Document], max_batch_tokens: int) -> list[Job]:
        """All windows of these documents, through ``forward``."""
        jobs = [self.begin(document) for document in documents]
        flat = [(job, window) for job in jobs for window in job.windows]
        for group in plan_batches([window for _, window in flat], max_batch_tokens):
            self.forward([flat[i] for i in group])
        return jobs

    def begin(self, document: Document) -> Job:
        """Split a document, for ``forward`` to be given each of its windows once, in any order and beside any others."""
        windows = self.split(document)
        tokens = document_tokens(windows)
        rows = 1 + len(document.sentences)
        sums = np.zeros((rows, self._columns), dtype=np.float32)
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

    def logits(self, job: Job) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Of a document all of whose windows have been through ``forward``: the network's logits of it [T] and of its sentences
        [N, T + 1], the last being the salience, and the lexicon's of both, [T] and [N, T], if there is one."""
        read, end = job.counts > 0, len(self.topics) + 1
        said, titles = job.sums[read], int(read[0])
        said /= job.counts[read, None]
        logits, body = said[:, :end], said[titles:, :end]
        if self._context:
            body = body.copy()  # lets go of what the context is given
            body[:, -1] += self._context(said[:titles, end:], said[titles:, end:])
        words = self._lexicon.score(job.tokens, len(body)) if self._lexicon else (None, None)
        return pool(logits[:, :-1], self._sharpness), body, *words

    def finish(self, job: Job) -> Scores:
        """The scores of such a document."""
        pooled, body, words, by_sentence = self.logits(job)
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
