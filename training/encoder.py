"""Encoders: loaded from a folder, the hub or a model folder; cut, grouped and measured.

The heads above them are in network.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerFast
from transformers.utils import logging

from serving.folder import read_config
from serving.windows import WindowConfig

GRAPH_CONSTANTS = "graph.constants"  # beside the weights in a model folder; see graph.py


def load_encoder(source: str) -> tuple[nn.Module, PreTrainedTokenizerFast, dict[str, torch.Tensor]]:
    """An encoder and its tokenizer from a wenzhai model folder, a local folder, or a hub id.

    Returns also the heads' weights where ``source`` is a wenzhai model folder, else an empty dict.
    Dropout within the encoder is set to 0, which lets documents train several times as fast on a CPU.

    Raises:
        ValueError: there is no such encoder, or it can't be used; says why.
    """
    logging.set_verbosity_error()  # a report of unused pooler weights, which are dropped below
    logging.disable_progress_bar()
    try:
        if is_model_folder(Path(source)):
            encoder, tokenizer, heads, missing = *_from_model_folder(Path(source)), ()
        else:
            config = without_dropout(AutoConfig.from_pretrained(source))
            whole, found = AutoModel.from_pretrained(source, config=config, dtype=torch.float32, output_loading_info=True)
            encoder, tokenizer = _without_pooler(whole), AutoTokenizer.from_pretrained(source, use_fast=True)
            heads, missing = {}, found["missing_keys"]
    except Exception as error:  # the hub, safetensors and each encoder's own code fail in their own ways
        reason = " ".join(str(error).split())
        raise ValueError(
            f"--encoder {source}: neither a folder with an encoder (config.json, model.safetensors, tokenizer.json) nor a "
            f"model that the hub gives: {reason[:400]}"
        ) from error
    if getattr(tokenizer, "backend_tokenizer", None) is None or tokenizer.pad_token_id is None:
        raise ValueError(f"--encoder {source}: its tokenizer has no tokenizer.json, or no padding token")
    check_fit(source, encoder, tokenizer, missing)
    return encoder, tokenizer, heads


def check_fit(source: str, encoder: nn.Module, tokenizer: PreTrainedTokenizerFast, missing: Iterable[str]) -> None:
    """Raises ValueError where weights would start at random, texts be read as unknown pieces alone, or windows not be built."""
    lacking, table = sorted(name for name in missing if "pooler" not in name), encoder.get_input_embeddings().num_embeddings
    wrong = None
    if encoder.config.is_encoder_decoder:
        wrong = "an encoder-decoder (such as BART or T5), whose decoder can't be left out here; name an encoder alone"
    elif None in _ends(tokenizer):
        wrong = (
            "its tokenizer has no token that begins a text (cls_token or bos_token), or none that ends one (sep_token or "
            "eos_token); name them in its tokenizer_config.json (in a model folder: special_tokens of config.json)"
        )
    elif lacking:
        wrong = f"its file of weights lacks {len(lacking)} of the encoder's, first {lacking[0]}; save it anew"
    elif len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        wrong = "its tokenizer knows no words; save tokenizer.json (or vocab.txt) beside the weights"
    elif len(tokenizer) > table:
        wrong = f"its tokenizer has {len(tokenizer)} pieces, its weights only {table}; resize them"
    if wrong:
        raise ValueError(f"--encoder {source}: {wrong}")


def fingerprint(encoder: nn.Module) -> str:
    """A hash of all weights."""
    digest = hashlib.sha256()
    for tensor in encoder.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def is_model_folder(folder: Path) -> bool:
    """Whether this is what ``training.train`` writes, and not a bare encoder."""
    try:
        return {"encoder", "topics", "format"} <= json.loads((folder / "config.json").read_text("utf-8")).keys()
    except (OSError, ValueError, AttributeError):  # AttributeError: JSON, but no object
        return False


def _from_model_folder(folder: Path) -> tuple[nn.Module, PreTrainedTokenizerFast, dict[str, torch.Tensor]]:
    own = read_config(folder)
    settings = dict(own["encoder"])
    config = without_dropout(AutoConfig.for_model(settings.pop("model_type"), **settings))
    encoder = _without_pooler(AutoModel.from_config(config, dtype=torch.float32))
    weights = load_file(folder / "model.safetensors")
    encoder.load_state_dict({k[8:]: v for k, v in weights.items() if k.startswith("encoder.")})  # copied into f32
    heads = {k: v.float() for k, v in weights.items() if not k.startswith("encoder.") and k != GRAPH_CONSTANTS}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **own["special_tokens"])
    return encoder, tokenizer, heads


def keep_layers(encoder: nn.Module, layers: int) -> None:
    """Keep the bottom layers, which lose least (of six, the bottom ones beat every second one by two points).

    Raises:
        ValueError: there are not as many, or they are not a stack.
    """
    count = getattr(encoder.config, "num_hidden_layers", 0)
    for parent in encoder.modules():
        for name, stack in parent.named_children():
            if isinstance(stack, nn.ModuleList) and len(stack) == count >= layers:
                setattr(parent, name, stack[:layers])
                encoder.config.num_hidden_layers = layers
                return
    raise ValueError(f"--layers {layers}: this encoder has {count} layers, or no stack of layers to cut")


def layer_groups(encoder: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: the top layer at ``rate``, each layer below, and at last the embeddings, at ``decay``
    times the one above (Howard & Ruder 2018, "Universal language model fine-tuning"). Frozen parameters are in none."""
    groups: dict[int, list[nn.Parameter]] = {}
    top = getattr(encoder.config, "num_hidden_layers", 0)
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            layer = re.search(r"\.(\d+)\.", name)
            depth = int(layer[1]) + 1 if layer else 0 if "embed" in name else top  # a norm above the layers, or shared ones
            groups.setdefault(depth, []).append(parameter)
    return [{"params": groups[depth], "lr": rate * decay ** (top - depth)} for depth in sorted(groups)]


def longest_window(encoder: nn.Module, wanted: int) -> int:
    """Tokens that fit the encoder's positions, at most ``wanted``. RoBERTa's begin after the padding index."""
    limit = getattr(encoder.config, "max_position_embeddings", None) or wanted
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limit -= module.padding_idx + 1
    return min(wanted, limit) if limit > 0 else wanted


def without_dropout(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration with dropout 0 within the encoder, which trains documents several times as fast on a CPU."""
    for name in ("attention_probs_dropout_prob", "attention_dropout", "hidden_dropout_prob", "dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return config


def _without_pooler(encoder: nn.Module) -> nn.Module:
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


def window_config(tokenizer: PreTrainedTokenizerFast, max_tokens: int, max_title_tokens: int) -> WindowConfig:
    """Window sizes with the tokenizer's special tokens (BERT's [CLS]/[SEP], or <s>/</s>)."""
    cls, sep = _ends(tokenizer)
    return WindowConfig(max_tokens, max_title_tokens, cls=cls, sep=sep, pad=tokenizer.pad_token_id)


def _ends(tokenizer: PreTrainedTokenizerFast) -> tuple[int | None, int | None]:
    """The ids of the tokens before and behind a text."""
    cls = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    sep = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    return cls, sep
