"""A trained network -> a self-contained model folder, and the check that its graph gives the network's scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from transformers import PreTrainedTokenizerFast

from serving.calibration import Calibration, sigmoid
from serving.context import SHAPES
from serving.features import FEATURES
from serving.folder import CONFIG, CONTEXT, FORMAT, GRAPH, LEXICON, TOKENIZER, WEIGHTS, sha256
from serving.model import Model, Scores
from serving.summary import Rule
from serving.windows import WindowConfig
from training.data import Topic
from training.encoder import is_model_folder
from training.examples import Example
from training.graph import save_graph
from training.network import Network
from training.passes import Prediction

_SPECIAL = ("cls_token", "sep_token", "bos_token", "eos_token", "pad_token", "unk_token", "mask_token")
_MAX_GAP = 0.002  # in f32 between graph and network; about 0.00001 is usual


def export(
    folder: Path, network: Network, tokenizer: PreTrainedTokenizerFast, windows: WindowConfig, topics: Sequence[Topic],
    thresholds: Sequence[float], calibration: Calibration, lexicon: tuple[np.ndarray, np.ndarray] | None,
    summary: Rule,
    single_label: bool, encoder: str, notes: dict[str, Any],
) -> Path:
    """Write the model within its folder, from where ``put`` brings it to its place: no half-written or unexamined one is loaded.
    Within, since the folder may be a mount point: beside it lies another file system then, from which nothing can be moved.

    ``summary`` is that of ``calibrate.choose_summary``.

    Weights are stored as fp16, half the size, in ``model.safetensors``, to train on from and for the graph; see ``graph.py``.
    """
    fresh = folder.resolve() / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    network = network.cpu().float().eval()
    tokenizer.backend_tokenizer.save(str(fresh / TOKENIZER))
    save_graph(network, fresh / GRAPH, fresh / WEIGHTS)
    if lexicon is not None:
        np.save(fresh / LEXICON, lexicon[0], allow_pickle=False)
    if network.context is not None:
        np.savez(fresh / CONTEXT, **{name: network.context.state_dict()[name].numpy() for name in SHAPES})
    names = sorted(path.name for path in fresh.iterdir())
    special = {name: getattr(tokenizer, name) for name in _SPECIAL}
    config = {
        "format": FORMAT,
        "topics": [
            {"id": topic.id, "name": topic.name, "description": topic.description, "threshold": float(t)}
            for topic, t in zip(topics, thresholds)
        ],
        "single_label": single_label,
        "windows": asdict(windows),
        "features": FEATURES,
        "sharpness": network.log_sharpness.exp().half().float().tolist(),
        "calibration": calibration.to_config(),
        "lexicon": None if lexicon is None else {"bias": [float(x) for x in lexicon[1]]},
        "context": network.context is not None,
        "summary": summary._asdict(),
        "encoder_origin": encoder,
        "encoder": {k: v for k, v in network.encoder.config.to_dict().items() if k != "_name_or_path"},
        "special_tokens": {name: token for name, token in special.items() if token},
        **notes,
        "libraries": {name: version(name) for name in ("torch", "transformers", "tokenizers", "openvino")},
        "files": {name: sha256(fresh / name) for name in names},
    }
    (fresh / CONFIG).write_text(_dump(config), "utf-8")
    return fresh


def put(fresh: Path, folder: Path) -> None:
    """Bring what ``export`` wrote to its place; a model that was there goes."""
    config = (fresh / CONFIG).rename(folder / f".{CONFIG}.new")  # if anything can't be moved, this; the old model is whole yet
    for old in (GRAPH, TOKENIZER, WEIGHTS, LEXICON, CONTEXT, CONFIG):
        (folder / old).unlink(missing_ok=True)
    for path in sorted(fresh.iterdir()):
        path.rename(folder / path.name)
    config.rename(folder / CONFIG)  # last: without it nothing loads
    fresh.rmdir()


def check_place(folder: Path) -> None:
    """Raises ValueError where a model would take the place of something else, such as an encoder."""
    if (folder / CONFIG).exists() and not is_model_folder(folder):
        raise ValueError(f"--output {folder}: holds something else than a model, by its {CONFIG}; name another folder")


def restate(folder: Path, **fields: Any) -> None:
    """Set fields of the configuration, in one stroke. A service shows ``metrics`` under ``/v1/info``."""
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    fresh = folder / f".{CONFIG}.new"
    fresh.write_text(_dump({**config, **fields}), "utf-8")
    fresh.replace(folder / CONFIG)


def _dump(config: dict[str, Any]) -> str:
    return json.dumps(config, ensure_ascii=False, indent=1, default=str) + "\n"


def check(
    folder: Path, examples: Sequence[Example], predictions: Sequence[Prediction], lexical: Sequence[np.ndarray | None]
) -> dict[str, float]:
    """Largest differences between the exported graph's scores and the network's, for each arithmetic of this processor.

    Differences are between calibrated topic scores and saliences (probabilities) of the same documents. ``predictions``
    are exact ones of the network after ``to_half``, so in f32 nothing but the order of additions differs; ``lexical`` are the
    lexicon's logits of each document.

    Raises:
        ValueError: the graph is not the network.
    """
    result = {}
    documents = [example.document for example in examples]
    bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision in ("f32", "bf16") if bf16 else ("f32",):
        model = Model.load(folder, precision=precision)
        scores = model.score(documents, max_batch_tokens=4096)
        result[precision] = max(_gap(s, p, w, model.config) for s, p, w in zip(scores, predictions, lexical))
    if not result["f32"] <= _MAX_GAP:
        raise ValueError(f"the exported graph in {folder} does not give the network's scores: they differ by {result['f32']:.5f}")
    return result


def _gap(scores: Scores, prediction: Prediction, words: np.ndarray | None, config: dict[str, Any]) -> float:
    topics = Calibration.from_config(config["calibration"]).probabilities(prediction.logits, words, config["single_label"])
    pairs = ((scores.topics, topics), (scores.salience, sigmoid(prediction.sentences[:, -1])))
    return max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs)
