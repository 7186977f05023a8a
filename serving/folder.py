"""A model folder: the names of its files, and its configuration once it is known to be whole."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from serving.errors import ModelError
from serving.features import FEATURES
from serving.summary import Rule
from serving.windows import WindowConfig

FORMAT, READ = 6, (4, 5, 6)  # written, and read: 4 knew no sentences in context, 4 and 5 no summaries by expected overlap
CONFIG, GRAPH, WEIGHTS, TOKENIZER, LEXICON = "config.json", "graph.xml", "model.safetensors", "tokenizer.json", "lexicon.npy"
CONTEXT = "context.npz"


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
        if version in READ:
            _check_fields(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / CONFIG} is damaged, or not a model's configuration ({error!r}); {advice}") from error
    if version not in READ:
        raise ModelError(f"the model in {folder} has format {version}, this version reads format {READ[0]} to {FORMAT}; {advice}")
    for name, expected in config["files"].items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path} is missing; fetch the model folder again, whole")
        if sha256(path) != expected:
            raise ModelError(f"{path} is damaged: its SHA-256 is not the one in {CONFIG}; fetch the model folder again")
    return config


def _check_fields(config: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError unless all that a model uses is there: a service must not find out later."""
    topics = config["topics"]
    for topic in topics:
        str(topic["id"]), str(topic["name"]), str(topic["description"]), _number(topic["threshold"])
    sharpness, calibration, lexicon = config["sharpness"], config["calibration"], config["lexicon"]
    bias = [0.0] * len(topics) if lexicon is None else lexicon["bias"]
    if not len(topics) == len(sharpness) == len(calibration["offsets"]) == len(bias):
        raise ValueError("topics, sharpness, calibration offsets and lexicon differ in number")
    rule = summary_rule(config)
    weights = calibration["slope"], calibration["lexicon"], rule.redundancy, rule.floor
    for value in (*sharpness, *calibration["offsets"], *bias, *weights):
        _number(value)
    if not (rule.sharpness is None or 0 < _number(rule.sharpness) <= 10):
        raise ValueError("the sharpness of summaries must be above 0, and 10 at most")
    if not all(value > 0 for value in sharpness):
        raise ValueError("sharpness must be positive")
    if not all(isinstance(value, bool) for value in (config["single_label"], in_context(config))):
        raise ValueError("single_label and context must be true or false")
    windows = WindowConfig(**config["windows"])
    if windows.max_tokens < 32 or windows.max_title_tokens < 0:
        raise ValueError("windows of fewer than 32 tokens")
    if tuple(config["features"]) != FEATURES:
        raise ValueError("it was trained on other features of sentences than this version computes")
    wanted = {GRAPH, WEIGHTS, TOKENIZER, *([] if lexicon is None else [LEXICON]), *([CONTEXT] if in_context(config) else [])}
    missing = wanted - config["files"].keys()
    if missing:
        raise ValueError(f"it names no {', '.join(sorted(missing))}")


def in_context(config: dict[str, Any]) -> bool:
    """Whether the model sees a document's sentences in context (``serving/context.py``)."""
    return config["context"] if config["format"] > 4 else False


def summary_rule(config: dict[str, Any]) -> Rule:
    """How the model chooses the sentences of a summary."""
    return Rule(**config["summary"])


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
