"""Frozen layers stay as they are, and their kept outputs give the network's own scores."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from conftest import make_rows, run_module
from safetensors.torch import load_file

from serving.windows import collate
from training import frozen
from training.data import Row
from training.encoder import load_encoder, window_config
from training.examples import flat_windows, make_examples
from training.frozen import FrozenStates, freeze, split_encoder
from training.train import _freeze


def test_bottom_and_top_in_turn_are_the_encoder(tiny_encoder: Path, monkeypatch) -> None:
    encoder, tokenizer, _ = load_encoder(str(tiny_encoder))
    with torch.no_grad():
        for parameter in encoder.parameters():  # as initialised, two layers hardly change anything
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    encoder.eval()
    rows = [Row(r["text"] * 4, None, None, None, r["title"], "", r["id"]) for r in make_rows(5)]
    examples = make_examples(rows, [], tokenizer.backend_tokenizer, window_config(tokenizer, 64, 8))
    flat = list(flat_windows(examples))
    windows = [window for _, window in flat]
    batch = collate(flat, [example.features for example in examples], 0)
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    assert not mask.all()
    bottom, top = split_encoder(encoder, 1)
    with torch.no_grad():
        states = bottom(input_ids=ids, attention_mask=mask).last_hidden_state
        parts = top(inputs_embeds=states, attention_mask=mask).last_hidden_state
        whole = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(parts[mask > 0], whole[mask > 0], atol=1e-5, rtol=1e-5)
    assert (states - whole).abs().max() > 1
    assert len(encoder.encoder.layer) == 2 and type(encoder.embeddings).__name__ == "BertEmbeddings"
    for limit in (frozen.MAX_KEPT_BYTES, 0):
        monkeypatch.setattr(frozen, "MAX_KEPT_BYTES", limit)
        kept = FrozenStates(bottom, 32, 0, torch.device("cpu"), nullcontext)
        kept.keep(windows, 256, False)
        assert bool(kept._kept) == bool(limit)
        found = kept.of(windows, ids.shape[1] + 5)[:, : ids.shape[1]]  # padded further than the longest needs
        torch.testing.assert_close(found[mask > 0].float(), states[mask > 0], atol=0.01, rtol=0.01)
        kept.forget()
        assert not kept._kept


def test_only_the_upper_layers_learn(tiny_encoder: Path) -> None:
    encoder, _, _ = load_encoder(str(tiny_encoder))
    freeze(encoder, 1)
    learning = {name.split(".")[0] + name.split(".")[2] for name, p in encoder.named_parameters() if p.requires_grad}
    assert learning == {"encoder1"}
    for layers in (2, 5):
        with pytest.raises(ValueError, match=f"--freeze {layers}"):
            freeze(encoder, layers)


def test_encoders_with_something_between_or_beside_the_layers(tiny_encoder: Path) -> None:
    from transformers import ElectraConfig, ElectraModel, MPNetConfig, MPNetModel

    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    electra = ElectraModel(ElectraConfig(**sizes, embedding_size=8)).eval()
    freeze(electra, 2)
    assert not any(p.requires_grad for p in electra.embeddings_project.parameters())
    mpnet = MPNetModel(MPNetConfig(**sizes)).eval()
    try:
        freeze(mpnet, 1)
    except ValueError as error:
        assert "can't be run in two parts" in str(error)
    assert not mpnet.encoder.relative_attention_bias.weight.requires_grad


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


def test_an_encoder_that_can_not_be_split_learns_as_a_whole(tmp_path: Path) -> None:
    """RemBERT projects its embeddings inside the stack, so that bottom and top in turn fail."""
    from transformers import RemBertConfig, RemBertModel

    encoder = RemBertModel(
        RemBertConfig(
            vocab_size=40, hidden_size=32, num_hidden_layers=6, num_attention_heads=2, intermediate_size=64,
            input_embedding_size=16, max_position_embeddings=64,
        )
    )
    with pytest.raises(ValueError, match="--freeze 4"):
        _freeze(encoder, 4)
    assert _freeze(encoder, None) == 0
    assert all(parameter.requires_grad for parameter in encoder.parameters())
