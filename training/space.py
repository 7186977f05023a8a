"""Vectors of texts from the frozen encoder, in which texts on the same matter lie near one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from serving.document import Document
from serving.windows import pad_tokens, plan_batches, split_windows
from training.encoder import load_encoder, longest_window, window_config

_WINDOW, _TITLE = 128, 48
_WINDOWS = 2  # of a document: what its first 250 tokens are about decides in most, at a fraction of the cost
_BATCH_TOKENS = 4_096


class Encoder:
    """The mean of a text's token vectors (mean pooling, as sentence encoders are made for)."""

    def __init__(self, source: str) -> None:
        self._module, tokenizer, _ = load_encoder(source)
        self._module.eval()
        self._tokenizer = tokenizer.backend_tokenizer
        window = longest_window(self._module, _WINDOW)
        self._windows = window_config(tokenizer, window, min(_TITLE, window // 4))
        # Elsewhere bf16 is emulated, and slow.
        self._bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()

    @torch.no_grad()
    def vectors(self, documents: Sequence[Document], progress: bool = False) -> np.ndarray:
        """float32 [documents, hidden], not normalised."""
        owners, windows = [], []
        for number, document in enumerate(documents):
            for window in split_windows(document, self._tokenizer, self._windows)[:_WINDOWS]:
                owners.append(number)
                windows.append(window)
        sums = np.zeros((len(documents), self._module.config.hidden_size), dtype=np.float32)
        counts = np.zeros((len(documents), 1), dtype=np.float32)
        with tqdm(total=len(windows), desc="encoding", unit="window", disable=not progress, mininterval=1) as bar:
            for group in plan_batches(windows, _BATCH_TOKENS):
                chosen = [windows[i] for i in group]
                length = max(len(window.token_ids) for window in chosen)
                ids, mask = (torch.from_numpy(array) for array in pad_tokens(chosen, length, self._windows.pad))
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bf16):
                    states = self._module(input_ids=ids, attention_mask=mask).last_hidden_state.float()
                rows = np.asarray([owners[i] for i in group])
                np.add.at(sums, rows, (states * mask[..., None]).sum(1).numpy())
                np.add.at(counts, rows, mask.sum(1, keepdim=True).numpy())
                bar.update(len(group))
        return sums / np.maximum(counts, 1)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Of short texts, as ``vectors``."""
        return self.vectors([Document(text) for text in texts])


class Space:
    """The vectors of one archive as directions from its own middle: cosines of raw vectors hardly differ, since all texts of a
    language share most of their direction (Mu and Viswanath 2018, "All-but-the-top"). Whitening on top of that was worse."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._middle = unit(vectors).mean(axis=0)

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [n, hidden] of length 1."""
        return unit(unit(vectors) - self._middle)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
