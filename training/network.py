"""The network: an encoder, and two small heads on each sentence.

Topics are learned from document labels alone (multiple-instance learning): a document's logit is a smooth maximum
over its sentences, ``log(mean(exp(r * s))) / r`` with a learned sharpness r a topic (Wang et al. 2018, "Comparing
the max and noisy-or pooling functions …", and Ramon & De Raedt 2000 for log-sum-exp), so the sentences that carried a
topic are its evidence. ``serving.model.pool`` is the same formula in numpy.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerFast
from transformers.utils import logging

from serving.features import FEATURES
from serving.folder import read_config
from serving.windows import TITLE, WindowConfig
from training.context import Context

GRAPH_CONSTANTS = "graph.constants"  # beside the weights in a model folder; see graph.py
_CONTEXT = "context."  # how the names of that layer's weights begin
_INITIAL_SHARPNESS = 1.0
_TOPIC_HIDDEN = 256
_SALIENCE_HIDDEN = 64


def _head(size: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class Network(nn.Module):
    """Scores of the pieces of a batch of windows."""

    def __init__(self, encoder: nn.Module, topics: int, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = encoder.config.hidden_size
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.topic_head = _head(2 * hidden, _TOPIC_HIDDEN, topics)
        self.salience_head = _head(hidden + len(FEATURES), _SALIENCE_HIDDEN, 1)
        self.log_sharpness = nn.Parameter(torch.full((topics,), _INITIAL_SHARPNESS).log())
        self.context: Context | None = None  # fitted last, see context.py

    def resize_topic_head(self, width: int) -> None:
        """A new topic head, with a hidden layer of this width."""
        first, last = self.topic_head[0], self.topic_head[-1]
        self.topic_head = _head(first.in_features, width, last.out_features).to(first.weight)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, piece_mask: torch.Tensor, features: torch.Tensor
    ) -> torch.Tensor:
        """int [B, L], int [B, L], float [B, P, L], float [B, P, F] -> logits [B, P, topics + 1], salience last, and beside
        them the inputs of ``context`` where there is one."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.heads(states, attention_mask, piece_mask, features)

    def heads(
        self, states: torch.Tensor, attention_mask: torch.Tensor, piece_mask: torch.Tensor, features: torch.Tensor
    ) -> torch.Tensor:
        """The encoder's states [B, L, H] and the rest of a batch -> what ``forward`` returns.

        A topic is judged from the sentence's mean beside that of its whole window.
        """
        vectors = self.dropout(torch.bmm(piece_mask.to(states.dtype), states))
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        window = self.dropout((states * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True))
        topics = self.topic_head(torch.cat([vectors, window.expand_as(vectors)], dim=-1))
        described = torch.cat([vectors, features.to(vectors.dtype)], dim=-1)
        context = [] if self.context is None else [self.context.inputs(described)]
        return torch.cat([topics, self.salience_head(described), *context], dim=-1)

    def document(self, title: torch.Tensor, sentences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``forward`` says of a document's title [0 or 1, …] and sentences [N, …], each merged from its pieces
        -> logits [topics] of the document and [N, topics + 1] of its sentences."""
        topics = len(self.log_sharpness)
        said, end = sentences[:, : topics + 1], topics + 1
        if self.context is not None:
            corrections = self.context.of_document(title[:, end:], sentences[:, end:])
            said = torch.cat([said[:, :-1], said[:, -1:] + corrections.unsqueeze(1)], dim=1)
        return self.pool(torch.cat([title, sentences])[:, :topics]), said

    def pool(self, logits: torch.Tensor) -> torch.Tensor:
        """Smooth maximum over the sentences (and title) of one document: [N, topics] -> [topics]."""
        sharpness = self.log_sharpness.exp()
        count = torch.log(torch.tensor(float(len(logits)), device=logits.device))
        return (torch.logsumexp(logits * sharpness, dim=0) - count) / sharpness


def merge_pieces(pieces: torch.Tensor, owners: Sequence[tuple[int, int]]) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Average the pieces of each sentence (and those of the title over its windows).

    ``pieces`` [n, C] are what the network says, ``owners`` (document, sentence) of each. Returns for each document the
    title's rows [0 or 1, C] and the sentences' rows [N, C].
    """
    keys = sorted(set(owners))
    position = {key: i for i, key in enumerate(keys)}
    target = torch.tensor([position[owner] for owner in owners], device=pieces.device)
    total = torch.zeros(len(keys), pieces.shape[-1], device=pieces.device).index_add(0, target, pieces)
    merged = total / torch.bincount(target, minlength=len(keys)).unsqueeze(1)
    result = {}
    start = 0
    for document, group in groupby(keys, key=lambda key: key[0]):
        sentences = [sentence for _, sentence in group]
        end, body = start + len(sentences), start + (sentences[0] == TITLE)
        result[document] = (merged[start:body], merged[body:end])
        start = end
    return result


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
            return _from_model_folder(Path(source))
        config = without_dropout(AutoConfig.from_pretrained(source))
        whole, found = AutoModel.from_pretrained(source, config=config, dtype=torch.float32, output_loading_info=True)
        encoder, tokenizer = _without_pooler(whole), AutoTokenizer.from_pretrained(source, use_fast=True)
    except Exception as error:  # the hub, safetensors and each encoder's own code fail in their own ways
        reason = " ".join(str(error).split())
        raise ValueError(
            f"--encoder {source}: neither a folder with an encoder (config.json, model.safetensors, tokenizer.json) nor a "
            f"model that the hub gives: {reason[:400]}"
        ) from error
    if getattr(tokenizer, "backend_tokenizer", None) is None or tokenizer.pad_token_id is None:
        raise ValueError(f"--encoder {source}: its tokenizer has no tokenizer.json, or no padding token")
    check_fit(source, encoder, tokenizer, found["missing_keys"])
    return encoder, tokenizer, {}


def check_fit(source: str, encoder: nn.Module, tokenizer: PreTrainedTokenizerFast, missing: Iterable[str]) -> None:
    """Raises ValueError where weights would start at random, or texts be read as unknown pieces alone."""
    lacking, table = sorted(name for name in missing if "pooler" not in name), encoder.get_input_embeddings().num_embeddings
    wrong = None
    if lacking:
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
    file = folder / "config.json"
    return file.is_file() and {"encoder", "topics", "format"} <= json.loads(file.read_text("utf-8")).keys()


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


def start_heads(network: Network, heads: dict[str, torch.Tensor], old: Sequence[str], new: Sequence[str]) -> None:
    """Take over the heads of a model folder: salience, and the topics of the same id. ``old`` are its topics. Its layer over
    sentences in context is not: it corrects what that encoder and that head say.

    The hidden layer becomes as wide as the folder's (``heads.Heads.put_into`` widens it for many topics).
    """
    width = len(heads.get("topic_head.0.weight", network.topic_head[0].weight))
    if width != network.topic_head[0].out_features:
        network.resize_topic_head(width)
    own = network.state_dict()
    with torch.no_grad():
        for name, tensor in heads.items():
            if name.startswith("topic_head.2.") or name == "log_sharpness":  # a row a topic
                for i, topic in enumerate(new):
                    if topic in old:
                        own[name][i] = tensor[list(old).index(topic)]
            elif not name.startswith(_CONTEXT):
                own[name].copy_(tensor)


def start_context(network: Network, heads: dict[str, torch.Tensor]) -> None:
    """Take over a model folder's layer over sentences in context, if it has one, where encoder and salience head are its, too."""
    found = {name.removeprefix(_CONTEXT): tensor for name, tensor in heads.items() if name.startswith(_CONTEXT)}
    if found:
        network.context = Context(found["inputs.weight"].shape[1]).eval()
        network.context.load_state_dict(found)


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
    cls = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    sep = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    return WindowConfig(max_tokens, max_title_tokens, cls=cls, sep=sep, pad=tokenizer.pad_token_id)
