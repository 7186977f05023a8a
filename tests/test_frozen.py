"""Frozen layers stay as they are, and their kept outputs give the network's own scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import make_rows, run_module
from safetensors.torch import load_file

from serving.windows import collate
from training import frozen
from training.data import Row
from training.examples import flat_windows, make_examples
from training.frozen import FrozenStates, freeze, split_encoder
from training.network import Network, load_encoder, window_config


def test_states_of_the_bottom_through_the_top_are_the_encoders(tiny_encoder: Path, monkeypatch) -> None:
    encoder, tokenizer, _ = load_encoder(str(tiny_encoder))
    network = Network(encoder, 2).eval()
    rows = [Row(r["text"] * 4, None, None, None, r["title"], "", r["id"]) for r in make_rows(5)]
    examples = make_examples(rows, [], tokenizer.backend_tokenizer, window_config(tokenizer, 64, 8))
    windows = [window for _, window in flat_windows(examples)]
    batch = collate(list(flat_windows(examples)), [example.features for example in examples], 0)
    ids, mask, pieces, features = map(
        torch.from_numpy, (batch.input_ids, batch.attention_mask, batch.piece_mask, batch.features)
    )
    bottom, top = split_encoder(encoder, 1)
    for limit in (frozen.MAX_KEPT_BYTES, 0):
        monkeypatch.setattr(frozen, "MAX_KEPT_BYTES", limit)
        states = FrozenStates(bottom, 32, 0, torch.device("cpu"), torch.no_grad)
        states.keep(windows, 256, False)
        assert bool(states._kept) == bool(limit)
        with torch.no_grad():
            above = top(inputs_embeds=states.of(windows, ids.shape[1]).float(), attention_mask=mask).last_hidden_state
            found = network.heads(above, mask, pieces, features)
            expected = network(ids, mask, pieces, features)
        rows_, columns = [o[0] for o in batch.owners], [o[1] for o in batch.owners]
        torch.testing.assert_close(found[rows_, columns], expected[rows_, columns], atol=0.03, rtol=0.03)  # bf16 between
    assert len(encoder.encoder.layer) == 2 and type(encoder.embeddings).__name__ == "BertEmbeddings"


def test_only_the_upper_layers_learn(tiny_encoder: Path) -> None:
    encoder, _, _ = load_encoder(str(tiny_encoder))
    freeze(encoder, 1)
    learning = {name.split(".")[0] + name.split(".")[2] for name, p in encoder.named_parameters() if p.requires_grad}
    assert learning == {"encoder1"}
    for layers in (2, 5):
        with pytest.raises(ValueError, match=f"--freeze {layers}"):
            freeze(encoder, layers)


def test_training_with_frozen_layers_leaves_them_alone(tiny_encoder: Path, tmp_path: Path) -> None:
    import json

    data = tmp_path / "rows.jsonl"
    rows = [{**row, "text": row["text"] * 6} for row in make_rows(60)]
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    arguments = (
        "--data", data, "--encoder", tiny_encoder, "--window", 48, "--max-windows", 2, "--freeze", 1, "--no-lexicon",
        "--epochs", 2, "--learning-rate", 3e-3, "--batch-size", 8, "--device", "cpu",
    )
    result = run_module("training.train", *arguments, "--output", tmp_path / "model")
    assert "frozen layers" in result.stderr
    before, after = load_file(tiny_encoder / "model.safetensors"), load_file(tmp_path / "model" / "model.safetensors")
    for name, tensor in before.items():
        if "pooler" in name:
            continue
        same = torch.equal(tensor.half(), after[f"encoder.{name.removeprefix('bert.')}"])
        assert same == ("layer.1." not in name), name
    again = run_module("training.train", *arguments, "--output", tmp_path / "twice")
    assert again.returncode == 0
    twice = load_file(tmp_path / "twice" / "model.safetensors")
    assert all(torch.equal(tensor, twice[name]) for name, tensor in after.items())
    assert not (tmp_path / "model" / "lexicon.npy").exists()
