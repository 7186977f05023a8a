"""The JSON: one document's analysis and the options, the same over HTTP, in archives and in Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.json_schema import SkipJsonSchema

from serving.settings import get_settings

settings = get_settings()
# What users send: nothing is guessed, and what they sent is in no message.
STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)


def _whole(value: object) -> object:
    """JSON knows one kind of number: 3.0 is 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


AtLeastOne = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
Sentences = Annotated[int, Field(ge=1, le=settings.max_summary_sentences), BeforeValidator(_whole)]


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


class Sentence(BaseModel):
    """A sentence of the document; ``rank`` is its place, from 1 on, among those that a summary takes, the best first."""

    offset: int
    length: int
    rank_score: float
    rank: int | None


def _no_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class _Answer(BaseModel):
    """What is left out (``text``, unless asked for) is absent from the JSON, not null."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class Analysis(_Answer):
    """What is said of one document, over HTTP and in archives alike."""

    id: str
    title: str
    topics: list[TopicResult] | SkipJsonSchema[None] = Field(None, json_schema_extra=_no_default)
    summary: Summary | SkipJsonSchema[None] = Field(None, json_schema_extra=_no_default)
    warnings: list[str] = Field(description="what reading removed, or could not read, as 'kind: count'")
    model: str = Field(description="name@version of the model")
    text: str | SkipJsonSchema[None] = Field(
        None, description="the cleaned text, with include_text", json_schema_extra=_no_default
    )
    sentences: list[Sentence] | SkipJsonSchema[None] = Field(
        None, description="all sentences, with include_sentences", json_schema_extra=_no_default
    )
    removed: list[str] | SkipJsonSchema[None] = Field(
        None, description="the lines that reading took out, with include_removed", json_schema_extra=_no_default
    )


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

    model_config = STRICT

    topics: list[str] | None = Field(None, description="consider only these topic ids", min_length=1)
    threshold: float | None = Field(None, ge=0, le=1, description="one threshold in place of each topic's own")
    top_k: AtLeastOne | None = Field(None, description="at most so many topics, the best first")
    at_least_one: bool = Field(False, description="return the best topic even if none passes its threshold")
    max_sentences: Sentences | None = Field(None, description="sentences of the summary; left out: by length and content")
    max_chars: AtLeastOne | None = Field(None, description="characters of the summary; the best sentence always stays")
    order: Literal["document", "rank"] = Field("document", description="order of the summary's sentences")
    focus: str | None = Field(None, description="a topic id: the summary is about it")
    include_text: bool = Field(False, description="return the cleaned text that the offsets refer to")
    include_sentences: bool = Field(
        False, description="return all sentences, with the order in which summaries of 1, 2, 3 … sentences take them"
    )
    include_removed: bool = Field(False, description="return the lines that were taken out while reading")


class DocumentInput(BaseModel):
    """One document as it was found."""

    model_config = STRICT

    id: str = Field("", max_length=settings.max_id_chars, description="copied to the answer; left out: its position")
    title: str = Field("", max_length=settings.max_title_chars, description="left out: taken from the document")
    text: str = Field(description="text, Markdown with or without front matter, or HTML")
    format: Literal["auto", "text", "markdown", "html"] = Field("auto", description="auto tells by the content")


class AnalyzeRequest(Options):
    """Documents, and options for all of them."""

    documents: list[DocumentInput] = Field(min_length=1, max_length=settings.max_documents)


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    problem: str


class ErrorResponse(_Answer):
    """Every answer of status 400 and more."""

    error: str = Field(description="what went wrong, and what to do")
    detail: list[FieldError] | SkipJsonSchema[None] = Field(
        None, description="with 422: each field that is wrong", json_schema_extra=_no_default
    )


class TopicDescription(BaseModel):
    """A topic that the model knows."""

    id: str
    name: str
    description: str
    threshold: float = Field(description="the score from which the topic is given")


class TopicsResponse(BaseModel):
    """The model's topics."""

    model: str
    topics: list[TopicDescription]


class InfoResponse(_Answer):
    """Model, limits and versions."""

    model: str
    single_label: bool
    corrections: bool = Field(description="whether /v1/corrections stores")
    window_tokens: int
    metrics: dict[str, Any] = Field(description="of the model, on the documents that chose its thresholds")
    limits: dict[str, int | float]
    versions: dict[str, str]
    model_refused: str | SkipJsonSchema[None] = Field(
        None, description="why a new model folder is not in use", json_schema_extra=_no_default
    )
