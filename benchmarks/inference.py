"""Forward pass: the shipped graph on OpenVINO beside the same weights in torch, tokens a second and ratios.

    python benchmarks/inference.py [--model models/default] [--threads 1]

One run, all engines on the same windows, rounds interleaved; the median of the rounds counts, so that a neighbour on the
machine slows all alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import openvino as ov
import torch

from serving.features import FEATURES
from serving.folder import GRAPH, WEIGHTS
from training.encoder import load_encoder
from training.network import Network

SHAPES = ((1, 64), (1, 256), (16, 64), (16, 256))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/default"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    engines = {**_torch_engines(options.model), **_openvino_engines(options.model, options.threads)}
    print(f"{'windows x tokens':>18}" + "".join(f"{name:>18}" for name in engines))
    for rows, length in SHAPES:
        inputs = _inputs(rows, length)
        times: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(options.rounds + 1):
            for name, run in engines.items():
                start = time.perf_counter()
                run(inputs)
                times[name].append(time.perf_counter() - start)
        speed = {name: rows * length / statistics.median(values[1:]) for name, values in times.items()}
        base = speed["torch f32"]
        print(f"{rows:>10} x {length:<5}" + "".join(f"{speed[name]:>11,.0f} {speed[name] / base:>4.1f}x " for name in engines))


def _inputs(rows: int, length: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    pieces = max(length // 32, 1)
    mask = np.zeros((rows, pieces, length), np.float32)
    for piece in range(pieces):
        mask[:, piece, piece * 32 : (piece + 1) * 32] = 1 / 32
    return (
        rng.integers(5, 20_000, (rows, length)), np.ones((rows, length), np.int64), mask,
        np.zeros((rows, pieces, len(FEATURES)), np.float32),
    )


def _torch_engines(folder: Path) -> dict[str, Callable[[tuple[np.ndarray, ...]], object]]:
    encoder, _, heads = load_encoder(str(folder))
    network = Network(encoder, len(heads["log_sharpness"])).eval()
    network.load_state_dict({**network.state_dict(), **heads})

    def run(inputs: tuple[np.ndarray, ...], dtype: torch.dtype) -> object:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            return network(*(torch.from_numpy(array) for array in inputs))

    return {"torch f32": lambda inputs: run(inputs, torch.float32), "torch bf16": lambda inputs: run(inputs, torch.bfloat16)}


def _openvino_engines(folder: Path, threads: int) -> dict[str, Callable[[tuple[np.ndarray, ...]], object]]:
    engines = {}
    for precision in ("f32", "bf16"):
        core = ov.Core()
        compiled = core.compile_model(
            core.read_model(folder / GRAPH, folder / WEIGHTS), "CPU",
            {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision},
        )
        engines[f"openvino {precision}"] = lambda inputs, graph=compiled: graph(list(inputs))
    return engines


if __name__ == "__main__":
    main()
