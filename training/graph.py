"""The network as an OpenVINO graph whose constants lie in ``model.safetensors``: one copy of the weights serves both.

An IR file (graph.xml) names each constant by offset and size in a file of weights. OpenVINO writes such a file of its own; here
the offsets point into the safetensors file, whose tensors are the same bytes. The few constants that are no weights (shapes,
axes) are stored there as one more tensor.
"""

from __future__ import annotations

import json
import struct
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from safetensors.torch import save_file

from serving.features import FEATURES
from training.encoder import GRAPH_CONSTANTS
from training.network import Network

_ALIGNMENT = 8  # bytes: the widest type of a constant


def save_graph(network: Network, graph: Path, weights: Path) -> None:
    """Write the graph, with dynamic shapes, and the weights in fp16, to two files."""
    own = graph.with_name(".own.xml")
    ov.save_model(_convert(network), own, compress_to_fp16=True)
    content, tree = own.with_suffix(".bin").read_bytes(), ElementTree.parse(own)
    tensors = {name: _half(tensor).contiguous() for name, tensor in network.state_dict().items()}
    names = {tensor.flatten().view(torch.uint8).numpy().tobytes(): name for name, tensor in tensors.items()}
    constants = [layer.find("data") for layer in tree.getroot().iter("layer") if layer.get("type") == "Const"]
    rest, places = bytearray(), []
    for constant in constants:
        start = int(constant.get("offset"))
        part = content[start : start + int(constant.get("size"))]
        if part in names:
            places.append((names[part], 0))
        else:
            places.append((GRAPH_CONSTANTS, len(rest)))
            rest += part + bytes(-len(part) % _ALIGNMENT)
    # As int64, so that safetensors, which sorts by type, puts it first and aligned.
    tensors[GRAPH_CONSTANTS] = torch.from_numpy(np.frombuffer(bytes(rest), np.int64).copy())
    save_file(tensors, weights)
    starts = _starts(weights)
    for constant, (name, offset) in zip(constants, places):
        constant.set("offset", str(starts[name] + offset))
    tree.write(graph)
    for path in (own, own.with_suffix(".bin")):
        path.unlink()


def _starts(file: Path) -> dict[str, int]:
    """Where each tensor's bytes begin (https://huggingface.co/docs/safetensors: length, JSON header, data)."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    return {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"}


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


@torch.no_grad()
def to_half(network: Network) -> None:
    """Round the weights to what is stored, so that calibration and checks see the network that is shipped.

    Raises:
        ValueError: a weight is too large for fp16.
    """
    for name, tensor in network.state_dict().items():
        rounded = _half(tensor)
        if not torch.isfinite(rounded).all():
            raise ValueError(f"{name} has weights that are not finite in fp16 (beyond 65504): train with a lower --learning-rate")
        tensor.copy_(rounded)


def _convert(network: Network) -> ov.Model:
    tokens, pieces = 16, 3
    example = {
        "input_ids": torch.ones(2, tokens, dtype=torch.long), "attention_mask": torch.ones(2, tokens, dtype=torch.long),
        "piece_mask": torch.ones(2, pieces, tokens), "features": torch.ones(2, pieces, len(FEATURES)),
    }
    shapes = {
        "input_ids": [-1, -1], "attention_mask": [-1, -1], "piece_mask": [-1, -1, -1], "features": [-1, -1, len(FEATURES)]
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing and of deprecations in transformers; the export's check compares scores
        inputs = [(name, ov.PartialShape(s), ov.Type.i64 if len(s) == 2 else ov.Type.f32) for name, s in shapes.items()]
        return ov.convert_model(network, example_input=example, input=inputs)
