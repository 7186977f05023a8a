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
import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from serving.model import CONFIG, FORMAT, GRAPH, GRAPH_WEIGHTS, TOKENIZER, Model, sha256
from serving.windows import FEATURES, WindowConfig
from training.data import Topic
from training.examples import Example
from training.loop import Prediction
from training.network import Network

WEIGHTS = "model.safetensors"


def export(
    folder: Path, network: Network, tokenizer: PreTrainedTokenizerFast, windows: WindowConfig, topics: Sequence[Topic],
    thresholds: Sequence[float], calibration: tuple[float, np.ndarray], redundancy: float, single_label: bool,
    encoder: str, notes: dict[str, Any],
) -> None:
    """Write the folder beside its place and put it there when it is whole, so that no half-written model is ever loaded.

    Weights are stored as fp16, half the size, in ``model.safetensors`` (to train on from) and in the graph.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    network = network.cpu().float().eval()
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, fresh / WEIGHTS)
    tokenizer.backend_tokenizer.save(str(fresh / TOKENIZER))
    _save_graph(network, fresh / GRAPH)
    special = {name: getattr(tokenizer, name) for name in ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")}
    config = {
        "format": FORMAT,
        "topics": [{**asdict(topic), "threshold": float(t)} for topic, t in zip(topics, thresholds)],
        "single_label": single_label,
        "windows": asdict(windows),
        "sharpness": network.log_sharpness.exp().half().float().tolist(),
        "calibration": {"slope": calibration[0], "offsets": [float(x) for x in calibration[1]]},
        "summary": {"redundancy": redundancy},
        "encoder_origin": encoder,
        "encoder": network.encoder.config.to_dict(),
        "special_tokens": {name: token for name, token in special.items() if token},
        **notes,
        "libraries": {name: version(name) for name in ("torch", "transformers", "tokenizers", "openvino")},
        "files": {name: sha256(fresh / name) for name in (GRAPH, GRAPH_WEIGHTS, TOKENIZER, WEIGHTS)},
    }
    (fresh / CONFIG).write_text(json.dumps(config, ensure_ascii=False, indent=1, default=str) + "\n", "utf-8")
    for old in (GRAPH, GRAPH_WEIGHTS, TOKENIZER, WEIGHTS, CONFIG):
        (folder / old).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (GRAPH, GRAPH_WEIGHTS, TOKENIZER, WEIGHTS, CONFIG):  # the configuration last: without it nothing loads
        (fresh / name).rename(folder / name)
    fresh.rmdir()


def _save_graph(network: Network, path: Path) -> None:
    """OpenVINO IR with dynamic shapes and fp16 weights."""
    tokens, pieces = 16, 3
    example = {
        "input_ids": torch.ones(2, tokens, dtype=torch.long), "attention_mask": torch.ones(2, tokens, dtype=torch.long),
        "piece_mask": torch.ones(2, pieces, tokens), "features": torch.ones(2, pieces, len(FEATURES)),
    }
    shapes = {
        "input_ids": [-1, -1], "attention_mask": [-1, -1], "piece_mask": [-1, -1, -1], "features": [-1, -1, len(FEATURES)]
    }
    with torch.no_grad():
        graph = ov.convert_model(
            network, example_input=example,
            input=[(name, ov.PartialShape(shape), ov.Type.i64 if len(shape) == 2 else ov.Type.f32) for name, shape in shapes.items()],
        )
    ov.save_model(graph, path, compress_to_fp16=True)


def check(folder: Path, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Largest differences between the exported graph's scores and the trained network's, by arithmetic.

    Differences are between calibrated topic scores (probabilities) of the same documents.
    """
    result = {}
    documents = [example.document for example in examples]
    for precision in ("f32", "bf16"):
        model = Model.load(folder, precision=precision)
        scores = model.score(documents, max_batch_tokens=4096)
        gaps = [np.abs(s.topics - model.calibrate(p.logits)).max() for s, p in zip(scores, predictions)]
        result[precision] = float(max(gaps))
    return result
