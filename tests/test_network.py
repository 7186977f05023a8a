"""The network's formulas, and encoders of other kinds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer, BartConfig, BartModel, PreTrainedTokenizerFast

from serving.features import FEATURES
from serving.model import pool
from serving.windows import TITLE
from training.devices import fastest_attention
from training.encoder import keep_layers, layer_groups, load_encoder, longest_window
from training.frozen import freeze
from training.network import Network, merge_pieces, start_heads


def test_pooling_is_that_of_serving(tiny_encoder: Path) -> None:
    encoder, _, _ = load_encoder(str(tiny_encoder))
    network = Network(encoder, 3)
    with torch.no_grad():
        network.log_sharpness.copy_(torch.tensor([-1.0, 0.0, 1.5]))
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)) * 4
    expected = pool(logits.numpy(), network.log_sharpness.detach().exp().numpy())
    np.testing.assert_allclose(network.pool(logits).detach().numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(network.pool(logits[:1]).detach().numpy(), logits[0].numpy(), rtol=1e-5)


def test_pieces_are_averaged_by_sentence() -> None:
    pieces = torch.tensor([[9.0], [1.0], [2.0], [4.0], [7.0], [5.0]])
    merged = merge_pieces(pieces, [(0, TITLE), (0, 0), (0, 1), (0, 1), (0, TITLE), (1, 0)])
    assert merged[0][0].tolist() == [[8.0]] and merged[0][1].tolist() == [[1.0], [3.0]]
    assert merged[1][0].shape == (0, 1) and merged[1][1].tolist() == [[5.0]]


def test_padding_changes_nothing(tiny_encoder: Path) -> None:
    encoder, _, _ = load_encoder(str(tiny_encoder))
    network = Network(encoder, 2).eval()
    ids, mask = torch.randint(5, 30, (1, 12)), torch.ones(1, 12, dtype=torch.long)
    pieces, features = torch.full((1, 1, 12), 1 / 12), torch.zeros(1, 1, len(FEATURES))
    padded = [nn.functional.pad(x, (0, 9)) for x in (ids, mask, pieces)]
    with torch.no_grad():
        torch.testing.assert_close(network(ids, mask, pieces, features), network(*padded, features), atol=1e-5, rtol=1e-5)


def test_bottom_layers_are_kept(tiny_encoder: Path) -> None:
    encoder, _, _ = load_encoder(str(tiny_encoder))
    first = encoder.encoder.layer[0]
    keep_layers(encoder, 1)
    assert list(encoder.encoder.layer) == [first] and encoder.config.num_hidden_layers == 1
    with pytest.raises(ValueError, match="--layers 2: this encoder has 1 layers"):
        keep_layers(encoder, 2)


def test_heads_are_taken_over_by_topic_id(tiny_encoder: Path) -> None:
    old, new = (Network(load_encoder(str(tiny_encoder))[0], count) for count in (2, 3))
    untouched = new.topic_head[2].weight[1].clone()
    heads = {name: tensor for name, tensor in old.state_dict().items() if not name.startswith("encoder.")}
    start_heads(new, heads, ["a", "b"], ["b", "c", "a"])
    assert torch.equal(new.topic_head[2].weight[[2, 0]], old.topic_head[2].weight)
    assert torch.equal(new.topic_head[0].weight, old.topic_head[0].weight)
    assert torch.equal(new.topic_head[2].bias[[2, 0]], old.topic_head[2].bias)
    assert torch.equal(new.topic_head[2].weight[1], untouched)
    assert torch.equal(new.salience_head[0].weight, old.salience_head[0].weight)


def test_a_wider_head_is_taken_over(tiny_encoder: Path) -> None:
    """Linear heads of many topics widen the hidden layer; training goes on from it, with other topics too."""
    old, new = (Network(load_encoder(str(tiny_encoder))[0], count) for count in (2, 3))
    old.resize_topic_head(300)
    heads = {name: tensor for name, tensor in old.state_dict().items() if not name.startswith("encoder.")}
    start_heads(new, heads, ["a", "b"], ["b", "c", "a"])
    rows = torch.randn(4, new.topic_head[0].in_features)
    torch.testing.assert_close(new.topic_head(rows)[:, [2, 0]], old.topic_head(rows))
    narrow = {name: tensor for name, tensor in Network(old.encoder, 2).state_dict().items() if not name.startswith("encoder.")}
    start_heads(new, narrow, ["a", "b"], ["b", "c", "a"])
    assert new.topic_head[0].out_features == 256


def test_windows_fit_the_positions(tiny_encoder: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    encoder, _, _ = load_encoder(str(tiny_encoder))
    assert (longest_window(encoder, 64), longest_window(encoder, 4096)) == (64, 128)
    roberta = RobertaModel(RobertaConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=66, pad_token_id=1,
    ))
    assert longest_window(roberta, 512) == 64
    roberta(input_ids=torch.full((1, 64), 5), attention_mask=torch.ones(1, 64, dtype=torch.long))


def test_dropout_in_the_encoder_is_off_and_no_pooler_is_left(tiny_encoder: Path) -> None:
    encoder, _, heads = load_encoder(str(tiny_encoder))
    assert not any(module.p for module in encoder.modules() if isinstance(module, nn.Dropout))
    assert encoder.config.attention_probs_dropout_prob == 0 and encoder.pooler is None and heads == {}


def test_dropout_goes_by_other_names(tmp_path: Path, tiny_encoder: Path) -> None:
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    config = DistilBertConfig(vocab_size=60, dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=64)
    DistilBertModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    encoder, _, _ = load_encoder(str(tmp_path))
    assert not any(module.p for module in encoder.modules() if isinstance(module, nn.Dropout))


def test_what_is_no_encoder_is_named(tiny_encoder: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--encoder nobody/no-such-model: neither a folder"):
        load_encoder("nobody/no-such-model")
    with pytest.raises(ValueError, match="neither a folder"):
        load_encoder(str(tmp_path))
    bare = shutil.copytree(tiny_encoder, tmp_path / "bare")
    (bare / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="neither a folder"):
        load_encoder(str(bare))
    damaged = shutil.copytree(tiny_model, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="damaged"):
        load_encoder(str(damaged))


def test_an_encoder_saved_in_part_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    """Else it would be random, or read every text as unknown pieces, and nothing would say so."""
    weights, wrapped = load_file(tiny_encoder / "model.safetensors"), Path(shutil.copytree(tiny_encoder, tmp_path / "wrapped"))
    save_file({f"module.{name}": tensor for name, tensor in weights.items()}, wrapped / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="its file of weights lacks .* of the encoder's, first .*; save it anew"):
        load_encoder(str(wrapped))
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in "config.json", "model.safetensors":
        shutil.copyfile(tiny_encoder / name, alone / name)
    with pytest.raises(ValueError, match=r"its tokenizer knows no words; save tokenizer.json \(or vocab.txt\)"):
        load_encoder(str(alone))
    longer = AutoTokenizer.from_pretrained(tiny_encoder)
    longer.add_tokens(["癌变"])
    longer.save_pretrained(shutil.copytree(tiny_encoder, tmp_path / "longer"))
    with pytest.raises(ValueError, match="pieces, its weights only"):
        load_encoder(str(tmp_path / "longer"))


def test_an_encoder_that_windows_cannot_be_built_for_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    endless = Path(shutil.copytree(tiny_encoder, tmp_path / "endless"))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[CLS]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **special).save_pretrained(endless)
    with pytest.raises(ValueError, match=r"endless: its tokenizer has .* none that ends one \(sep_token or eos_token\)"):
        load_encoder(str(endless))
    tokenizer.save_pretrained(tmp_path / "bart")
    BartModel(BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
    )).save_pretrained(tmp_path / "bart")
    with pytest.raises(ValueError, match="an encoder-decoder .*; name an encoder alone"):
        load_encoder(str(tmp_path / "bart"))


def test_lower_layers_learn_more_slowly(tiny_encoder: Path) -> None:
    encoder, _, _ = load_encoder(str(tiny_encoder))
    groups = layer_groups(encoder, 1.0, 0.5)
    assert [group["lr"] for group in groups] == [0.25, 0.5, 1.0]
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in encoder.parameters()} and len(grouped) == len(list(encoder.parameters()))
    assert any(p is encoder.encoder.layer[1].output.dense.weight for p in groups[2]["params"])
    freeze(encoder, 1)
    assert [group["lr"] for group in layer_groups(encoder, 1.0, 0.5)] == [1.0]


@pytest.mark.parametrize(("longest", "kind"), [(128, "eager"), (512, "sdpa")])
def test_short_windows_train_with_plain_attention(tiny_encoder: Path, longest: int, kind: str) -> None:
    encoder, _, _ = load_encoder(str(tiny_encoder))
    with fastest_attention(encoder, torch.device("cpu"), longest):
        assert encoder.config._attn_implementation == kind
    assert encoder.config._attn_implementation == "sdpa"
