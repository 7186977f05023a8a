"""Scores -> what the user gets: topics with their evidence, and a summary made of the document's own sentences."""

from __future__ import annotations

import numpy as np

from serving.document import Document
from serving.model import Model, Scores
from serving.schema import Analysis, Evidence, Options, Sentence, Summary, SummarySentence, TopicResult
from serving.settings import get_settings
from serving.summary import choose_sentences, sentence_budget

# Of the salience beside the evidence, in logits. With it the first sentence is more often one that readers marked, on the dev
# part of two models 0.842 -> 0.857 and 0.815 -> 0.829; weights of 0.2 to 1.2 do about as well.
_SALIENT = 0.4


class UnknownTopicError(ValueError):
    """An option names a topic that the model does not know."""


def check_options(options: Options, model: Model) -> None:
    """Raise UnknownTopicError, with the topics that there are, if ``topics`` or ``focus`` names another."""
    known = [topic.id for topic in model.topics]
    for name in [*(options.topics or []), *([] if options.focus is None else [options.focus])]:
        if name not in known:
            raise UnknownTopicError(f"unknown topic '{name[:80]}'; this model knows: {', '.join(known)}")


def analyse(
    document: Document, scores: Scores, model: Model, options: Options, *, topics: bool = True, summary: bool = True
) -> Analysis:
    """Turn the scores of one document into its analysis."""
    return Analysis(
        id=document.id, title=document.title,
        topics=select_topics(document, scores, model, options) if topics else None,
        summary=summarise(document, scores, model, options) if summary else None,
        warnings=list(document.warnings), model=model.name, text=document.text if options.include_text else None,
        sentences=rank_sentences(document, scores, model, options) if options.include_sentences else None,
        removed=list(document.removed) if options.include_removed else None,
    )


def select_topics(document: Document, scores: Scores, model: Model, options: Options) -> list[TopicResult]:
    """Topics whose score reaches the threshold, the highest score first."""
    wanted = [i for i, topic in enumerate(model.topics) if options.topics is None or topic.id in options.topics]
    wanted.sort(key=lambda i: -scores.topics[i])
    if model.single_label and options.threshold is None:
        chosen = wanted[:1]
    else:
        chosen = [i for i in wanted if scores.topics[i] >= _threshold(model, i, options)]
    if options.at_least_one and not chosen:
        chosen = wanted[:1]
    worth = evidence_worth(scores)
    return [
        TopicResult(
            id=model.topics[i].id, name=model.topics[i].name, score=_round(scores.topics[i]),
            evidence=_evidence(document, scores.evidence[:, i], worth[:, i]),
        )
        for i in chosen[: options.top_k]
    ]


def _threshold(model: Model, topic: int, options: Options) -> float:
    return model.topics[topic].threshold if options.threshold is None else options.threshold


def evidence_worth(scores: Scores) -> np.ndarray:
    """What each sentence is worth as proof of each topic, to be shown first: float64 [sentences, T].

    Of sentences that speak for a topic alike the one that matters to the document says what was done, and by whom.
    """
    return _logit(scores.evidence) + _SALIENT * _logit(scores.salience)[:, None]


def _logit(probability: np.ndarray) -> np.ndarray:
    inside = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def _evidence(document: Document, scores: np.ndarray, worth: np.ndarray) -> list[Evidence]:
    """The best sentence, and others that come near it."""
    order = np.argsort(-worth, kind="stable")[: get_settings().evidence_sentences]
    return [
        Evidence(**_quote(document, int(i)), score=_round(scores[i]))
        for rank, i in enumerate(order)
        if rank == 0 or scores[i] >= max(0.5, 0.8 * scores[order[0]])
    ]


def summarise(document: Document, scores: Scores, model: Model, options: Options) -> Summary:
    """The best sentences that do not repeat one another, within the budget; fewer where fewer carry the document, unless
    the request states a length of its own, or a focus.

    ``summary.Rule`` says how, and the model's folder with which weights.
    """
    relevance = _relevance(scores, model, options)
    budget = options.max_sentences or sentence_budget(len(document.text))
    own_length = options.max_sentences or options.max_chars or options.focus is not None
    rule = model.rule._replace(floor=0.0) if own_length else model.rule
    chosen = choose_sentences(document.sentence_texts(), relevance, budget, rule, options.max_chars)
    if options.order == "document":
        chosen.sort()
    sentences = [SummarySentence(**_quote(document, i), rank_score=_round(relevance[i])) for i in chosen]
    return Summary(text="\n".join(sentence.text for sentence in sentences), sentences=sentences)


def rank_sentences(document: Document, scores: Scores, model: Model, options: Options) -> list[Sentence]:
    """All sentences in document order. The summary of n sentences holds those of rank 1 to n, since it is chosen greedily."""
    relevance = _relevance(scores, model, options)
    most = get_settings().max_summary_sentences
    chosen = choose_sentences(document.sentence_texts(), relevance, most, model.rule._replace(floor=0.0))
    ranks = {index: rank for rank, index in enumerate(chosen, 1)}
    return [
        Sentence(offset=s.start, length=s.end - s.start, rank_score=_round(relevance[i]), rank=ranks.get(i))
        for i, s in enumerate(document.sentences)
    ]


def _relevance(scores: Scores, model: Model, options: Options) -> np.ndarray:
    """How much a reader needs each sentence, to whom the topic in ``focus`` matters, if one does: float64 [sentences]."""
    relevance = scores.salience.astype(np.float64)
    if options.focus is None:
        return relevance
    about = scores.evidence[:, [topic.id for topic in model.topics].index(options.focus)]
    return np.sqrt(relevance * about)


def _quote(document: Document, index: int) -> dict[str, str | int]:
    start, end = document.sentences[index]
    return {"text": document.text[start:end], "offset": start, "length": end - start}


def _round(value: float) -> float:
    return round(float(value), 4)
