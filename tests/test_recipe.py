"""Defaults that follow the data."""

from __future__ import annotations

import pytest

from training.recipe import default_batch_size, default_epochs, default_freeze


@pytest.mark.parametrize(
    ("documents", "tokens_each", "size"),
    [(50_000, 20, 64), (10_000, 42, 32), (10_000, 100, 16), (6_000, 400, 16), (50, 5_000, 16)],
)
def test_short_documents_go_in_larger_batches(documents: int, tokens_each: int, size: int) -> None:
    assert default_batch_size(documents * tokens_each, documents) == size


@pytest.mark.parametrize(
    ("documents", "batch", "epochs"), [(50, 16, 20), (6_000, 16, 7), (10_758, 32, 8), (52_454, 64, 4), (10**6, 64, 4)]
)
def test_large_data_needs_fewer_epochs(documents: int, batch: int, epochs: int) -> None:
    assert default_epochs(documents, batch) == epochs


@pytest.mark.parametrize(("layers", "frozen"), [(2, 0), (4, 0), (6, 4), (12, 8), (24, 16)])
def test_the_upper_third_of_a_deep_encoder_learns(layers: int, frozen: int) -> None:
    assert default_freeze(layers) == frozen
