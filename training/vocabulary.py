"""Characters that an encoder's tokenizer lacks, added to it and to the embeddings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from serving.windows import normalise

_MIN_COUNT = 20  # of a character outside GB 2312 in the text given
_NOISE = 0.1  # of the spread of the known characters' embeddings


def missing_characters(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """The characters of GB 2312 that the tokenizer does not know, and those of normalised ``texts`` that are not rare there."""
    counts = Counter(character for text in texts for character in set(text))
    wanted = dict.fromkeys(_gb2312())
    wanted.update(dict.fromkeys(c for c, count in sorted(counts.items()) if count >= _MIN_COUNT))
    model = json.loads(tokenizer.to_str())["model"]
    unknown = model["unk_id"] if "unk_id" in model else tokenizer.token_to_id(model.get("unk_token") or "[UNK]")
    return [c for c in wanted if normalise(c) == c and unknown in tokenizer.encode(c, add_special_tokens=False).ids]


def _gb2312() -> Iterable[str]:
    """The 6,763 Han characters of the standard."""
    for row in range(0xB0, 0xF8):
        for cell in range(0xA1, 0xFF):
            try:
                yield bytes([row, cell]).decode("gb2312")
            except UnicodeDecodeError:  # the five free cells
                continue


def add_characters(tokenizer: PreTrainedTokenizerFast, characters: Iterable[str]) -> PreTrainedTokenizerFast:
    """The tokenizer with pieces for ``characters`` behind all others; a Unigram's, as likely as its rarest piece.

    Raises:
        ValueError: the tokenizer is of a kind that can't be added to here.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model, known = state["model"], known_pieces(tokenizer)
    if model["type"] not in ("WordPiece", "Unigram") or known != len(model["vocab"]):  # the library renumbers added tokens
        raise ValueError(
            f"characters can't be added to a tokenizer of kind {model['type']} with {len(model['vocab'])} pieces and {known} ids"
        )
    if model["type"] == "WordPiece":
        model["vocab"].update({character: known + i for i, character in enumerate(characters)})
    else:
        rarest = min(score for _, score in model["vocab"])
        model["vocab"] += [[character, rarest] for character in characters]
    special = {name: getattr(tokenizer, name) for name in ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")}
    special |= {name: getattr(tokenizer, name) for name in ("bos_token", "eos_token") if getattr(tokenizer, name, None)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state, ensure_ascii=False)),
        model_max_length=tokenizer.model_max_length,
        **special,
    )


def known_pieces(tokenizer: PreTrainedTokenizerFast) -> int:
    """One more than the highest id in use, added tokens included."""
    return max(tokenizer.get_vocab().values()) + 1


@torch.no_grad()
def grow_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, known: int) -> None:
    """Give the pieces from number ``known`` on an embedding: the mean of the known single Han characters', slightly moved.

    Where hardly any is known, it is the mean of all pieces. A table with rows to spare keeps its size.
    """
    rows = max(known_pieces(tokenizer), model.get_input_embeddings().num_embeddings)
    model.resize_token_embeddings(rows, mean_resizing=False)
    embeddings: nn.Embedding = model.get_input_embeddings()
    ids = {tokenizer.convert_tokens_to_ids(character) for character in _gb2312()} - {None, tokenizer.unk_token_id}
    han = sorted(i for i in ids if i < known)
    like = embeddings.weight[han if len(han) > 1 else slice(known)]
    new = embeddings.weight[known : known_pieces(tokenizer)]
    new.copy_(like.mean(0) + _NOISE * like.std(0) * torch.randn_like(new))
