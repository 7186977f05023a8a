"""Characters added to a tokenizer and to the embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import ROOT
from tokenizers import Tokenizer, models
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from training.vocabulary import add_characters, grow_embeddings, missing_characters


def unigram() -> PreTrainedTokenizerFast:
    """Knows a few characters and one word."""
    special = ("<unk>", "<s>", "</s>", "<pad>", "<mask>")
    pieces = [*((name, 0.0) for name in special), ("基因", -3.0), ("基", -5.0), ("因", -5.0)]
    names = dict(unk_token="<unk>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", mask_token="<mask>")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram(pieces, unk_id=0)), **names)


def test_the_characters_of_gb2312_that_are_missing() -> None:
    missing = missing_characters(unigram().backend_tokenizer, [])
    assert "癣" in missing and "疱" in missing
    assert "基" not in missing
    assert 6700 < len(missing) < 6763 - 2  # without a few that are normalised to others


def test_what_is_frequent_in_the_text_is_wanted_too() -> None:
    backend = unigram().backend_tokenizer
    assert "㎎" not in missing_characters(backend, ["㎎"] * 50)  # never seen by the model: normalised to mg
    assert "镕" in missing_characters(backend, ["镕"] * 50)  # in no GB 2312
    assert "镕" not in missing_characters(backend, ["镕"] * 3)


def test_added_characters_are_read_and_old_text_is_read_as_before() -> None:
    old = unigram()
    new = add_characters(old, ["癣", "疱"])
    assert new.tokenize("癣基因疱") == ["癣", "基因", "疱"]
    assert new("基因", add_special_tokens=False)["input_ids"] == old("基因", add_special_tokens=False)["input_ids"]
    assert (new.mask_token_id, new.pad_token_id) == (old.mask_token_id, old.pad_token_id)


def test_word_piece(tiny_encoder: Path) -> None:
    old = AutoTokenizer.from_pretrained(tiny_encoder)
    assert old.tokenize("癣") == [old.unk_token]
    assert add_characters(old, ["癣"]).tokenize("基癣") == ["基", "癣"]


def test_a_tokenizer_whose_ids_would_move_is_refused(tiny_encoder: Path) -> None:
    old = AutoTokenizer.from_pretrained(tiny_encoder)
    old.add_tokens(["[ENT]"])
    with pytest.raises(ValueError, match="pieces and"):
        add_characters(old, ["癣"])


def test_spare_rows_of_the_embeddings_are_used(tiny_encoder: Path) -> None:
    model, old = AutoModelForMaskedLM.from_pretrained(tiny_encoder), AutoTokenizer.from_pretrained(tiny_encoder)
    known = len(old)
    model.resize_token_embeddings(known + 10, mean_resizing=False)
    before = model.get_input_embeddings().weight.detach().clone()
    grow_embeddings(model, add_characters(old, ["癣", "疱"]), known)
    after = model.get_input_embeddings().weight
    changed = (after != before).any(dim=1).nonzero().flatten().tolist()
    assert len(after) == known + 10 and changed == [known, known + 1]


def test_another_kind_is_refused(tiny_encoder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])), unk_token="a")
    with pytest.raises(ValueError, match="BPE"):
        add_characters(tokenizer, ["癣"])


def test_embeddings_of_known_pieces_stay(tiny_encoder: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(tiny_encoder)
    old = AutoTokenizer.from_pretrained(tiny_encoder)
    known = model.get_input_embeddings().weight.detach().clone()
    new = add_characters(old, ["癣", "疱"])
    grow_embeddings(model, new, len(known))
    weight = model.get_input_embeddings().weight
    assert len(weight) == len(new) == len(known) + 2
    assert torch.equal(weight[: len(known)], known)
    assert torch.isfinite(weight).all() and not torch.equal(weight[-1], weight[-2])


def test_the_shipped_encoder_can_be_given_what_it_lacks() -> None:
    shipped = AutoTokenizer.from_pretrained(ROOT / "models" / "encoder")
    missing = missing_characters(shipped.backend_tokenizer, [])
    assert 1500 < len(missing) < 1600 and "钡" in missing
    grown = add_characters(shipped, missing)
    assert missing_characters(grown.backend_tokenizer, []) == []
    text = "我市启动新生儿遗传性耳聋基因免费筛查，费用由市财政承担。"
    assert grown.tokenize(text) == shipped.tokenize(text)
