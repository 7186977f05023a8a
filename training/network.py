"""The network: an encoder, and two small heads on each sentence.

Topics are learned from document labels alone (multiple-instance learning): a document's logit is a smooth maximum
over its sentences, ``log(mean(exp(r * s))) / r`` with a learned sharpness r a topic (Wang et al. 2018, "Comparing
the max and noisy-or pooling functions …", and Ramon & De Raedt 2000 for log-sum-exp), so the sentences that carried a
topic are its evidence. ``serving.model.pool`` is the same formula in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import nn

from serving.features import FEATURES
from serving.windows import TITLE
from training.context import Context

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
