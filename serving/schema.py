"""The JSON: one document's analysis and the options, the same over HTTP, in archives and in Python."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from serving.settings import get_settings


class Evidence(BaseModel):
    """A sentence that proves a topic; ``offset`` and ``length`` count Unicode code points of the document's text."""

    text: str
    offset: int
    length: int
    score: float


class TopicResult(BaseModel):
    """A topic of the document, with a calibrated score in [0, 1]."""

    id: str
    name: str
    score: float
    evidence: list[Evidence]


class SummarySentence(BaseModel):
    """A sentence of the summary; ``rank_score`` in [0, 1] is how much a busy reader needs it."""

    text: str
    offset: int
    length: int
    rank_score: float


class Summary(BaseModel):
    """Sentences of the document; ``text`` is all of them, a line each."""

    text: str
    sentences: list[SummarySentence]


class _Answer(BaseModel):
    """What is left out (``text``, unless asked for) is absent from the JSON, not null."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class Analysis(_Answer):
    """What is said of one document, over HTTP and in archives alike."""

    id: str
    title: str
    topics: list[TopicResult] | None = None
    summary: Summary | None = None
    warnings: list[str] = Field(description="what reading removed, as 'kind: count'")
    model: str = Field(description="name@version of the model")
    text: str | None = Field(None, description="the cleaned text, with include_text")


class DocumentError(BaseModel):
    """A document that could not be analysed, and what to do about it."""

    id: str
    error: str


class AnalyzeResponse(BaseModel):
    """Analyses and errors, each in the order of the request."""

    documents: list[Analysis]
    errors: list[DocumentError]


class Options(BaseModel):
    """How documents are to be analysed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    topics: list[str] | None = Field(None, description="consider only these topic ids", min_length=1)
    threshold: float | None = Field(None, ge=0, le=1, description="one threshold in place of each topic's own")
    top_k: int | None = Field(None, ge=1, description="at most so many topics, the best first")
    at_least_one: bool = Field(False, description="return the best topic even if none passes its threshold")
    max_sentences: int | None = Field(
        None, ge=1, le=get_settings().max_summary_sentences, description="sentences of the summary; left out: by length"
    )
    max_chars: int | None = Field(None, ge=1, description="characters of the summary; the best sentence always stays")
    order: Literal["document", "rank"] = Field("document", description="order of the summary's sentences")
    focus: str | None = Field(None, description="a topic id: the summary is about it")
    include_text: bool = Field(False, description="return the cleaned text that the offsets refer to")
