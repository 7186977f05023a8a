"""What a run computes on, and how it holds memory there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_PLAIN_ATTENTION = 192  # tokens
_KEPT_BYTES = 32 << 20  # larger blocks, of sizes that seldom recur, would leave holes in the heap


def make_accelerator(device: str) -> Accelerator:
    """An Accelerator for ``auto``, ``cpu`` or ``cuda``, in bf16 where the processor is fast at it.

    Raises:
        ValueError: ``cuda`` is asked for, and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: there is no CUDA device here; use --device cpu or auto")
    cpu = device == "cpu" or not torch.cuda.is_available()
    if cpu:
        _keep_freed_memory()
    else:  # the same model twice: CUDA's fastest kernels add up in any order
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    fast_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported() if cpu else torch.cuda.is_bf16_supported()
    return Accelerator(cpu=cpu, mixed_precision="bf16" if fast_bf16 else "no")


@contextmanager
def fastest_attention(encoder: PreTrainedModel, device: torch.device, longest: int) -> Iterator[None]:
    """While it lasts, the attention that trains fastest on sequences of up to ``longest`` tokens: on a CPU the plain one for
    short ones, since the fused one's backward pass is slow there."""
    before = encoder.config._attn_implementation
    plain = device.type == "cpu" and longest <= _PLAIN_ATTENTION and before == "sdpa"
    if plain:
        encoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        if plain:
            encoder.set_attn_implementation(before)


def _keep_freed_memory() -> None:
    """Let malloc keep large blocks that are freed: handing each activation back to the kernel, to be given cleared pages for
    the next one, takes 40 % of a training step on a CPU. Elsewhere than on glibc nothing is done."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
