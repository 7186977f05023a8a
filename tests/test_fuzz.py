"""Anything at all is read or refused: no crash, no hang, every quotation at its offset, every summary in the document.

A few hundred cases in ``make test``; ``make nightly`` sets WENZHAI_FUZZ_CASES to a hundred thousand.
"""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_docx import make_docx, paragraph
from test_mail import raw_mail
from test_pdf import column, make_pdf

from serving.analysis import UnknownTopicError, analyse, check_options
from serving.body import misshapen, valid_unicode
from serving.document import Document
from serving.model import Model, Scores
from serving.reading import FORMATS, ReadingError, read
from serving.schema import AnalyzeRequest, AnalyzeResponse, Options
from serving.service import read_source, sources_of

CASES = int(os.environ.get("WENZHAI_FUZZ_CASES", "400"))
_SECONDS = 30  # no case may take longer, on any machine


def share(percent: int) -> Callable:
    """Settings for a test that gets this share of the cases; the quick run is the same each time."""
    nightly = CASES > 1000
    return settings(
        max_examples=max(1, CASES * percent // 100), deadline=None, database=None, derandomize=not nightly,
        suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


@contextmanager
def in_time() -> Iterator[None]:
    """Fail what hangs."""
    def late(*_: object) -> None:
        raise AssertionError(f"it takes longer than {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model)


PIECES = st.sampled_from([
    "孕妇基因筛查。", "他说：“今年筛查两万人。”随后介绍", "3.5%", "www.example.cn/a?b=1", "網(wǎng)", "項(xiàng)目",
    "發(fā)展", "！？", "……", "。", "\n", "\n\n", "\r\n", "\u2028", "\x00", "\x1f", "\ufeff", "\u200b", "\u3000",
    "\xa0", "𠮷", "👨‍👩‍👧", "e\u0301", "\u202e", "\ud800", "\udfff", "\ufffd", "&nbsp;", "&#x4e2d;", "&#0;",
    "&#55296;", "&#1114112;", "&lt;p&gt;", "<p>", "</p>", "<div", ">", "<br/>", "<script>", "</script>", "<!--", "-->",
    "<![CDATA[", "]]>", "<table><tr><td>", "</table>", "<ruby>漢<rt>hàn</rt></ruby>", "<pre>", "<a href='", "'>",
    "<body>", "<html>", "</html>", "<title>", "</title>", "<meta charset=gbk>", "# ", "## ", "* ", "1. ", "> ", "```",
    "`", "**", "__", "[", "](", ")", "![", "| a | b |\n|---|---|\n", "---\n", "---", "title: ", "tags: [",
    "date: 2024-05-10", "!!python/object", "*a", "&a", "责任编辑：张三", "来源：新华社", "版权所有", "相关阅读",
    "扫一扫", "（上接第1版）", "“", "”", "《", "》", "（", "）",
])
TEXT = st.lists(st.one_of(PIECES, PIECES, PIECES, st.text(max_size=12)), max_size=40).map("".join)
SEEDS = [path.read_text("utf-8") for path in sorted((ROOT / "seeds").glob("*.txt"))]


@st.composite
def changed(draw: st.DrawFn) -> str:
    """A real document from which something was cut, with something put in."""
    text = draw(st.sampled_from(SEEDS))
    start = draw(st.integers(0, len(text)))
    text = text[start : start + draw(st.integers(0, 600))]
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(TEXT) + text[at + draw(st.integers(0, 40)) :]


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some are others, or missing; or none."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 6))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.integers(0, 4)) == 0 else bytes(data)


TEXTS = st.one_of(
    TEXT, changed(), TEXT.map(lambda t: f"<html><body><p>{t}</p></body></html>"), TEXT.map(lambda t: f"---\n{t}\n---\n{t}")
)
ENCODED = st.builds(
    lambda text, encoding: text.encode(encoding, "replace"), TEXTS,
    st.sampled_from(["utf-8", "gb18030", "big5", "utf-16", "utf-16-be", "utf-8-sig", "latin-1"]),
)
OPTIONS = st.builds(
    Options, topics=st.none() | st.sampled_from([["finance"], ["finance", "screening"]]), threshold=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(1, 3), at_least_one=st.booleans(), max_sentences=st.none() | st.integers(1, 20),
    max_chars=st.none() | st.integers(1, 10_000), order=st.sampled_from(["document", "rank"]),
    focus=st.none() | st.sampled_from(["finance", "screening"]), include_text=st.just(True),
)


def check(document: Document, model: Model, options: Options, seed: int) -> None:
    """Whatever the scores, what is said of a document is true of its text; and it can be sent."""
    end = 0
    for sentence in document.sentences:
        assert end <= sentence.start < sentence.end <= len(document.text)
        end = sentence.end
    assert document.sentences and document.text.encode() and "\r" not in document.text
    windows = model.split(document)
    assert windows
    rng = np.random.default_rng(seed)
    count, topics = len(document.sentences), len(model.topics)
    scores = Scores(*(rng.random(shape, dtype=np.float32) for shape in (topics, (count, topics), count)))
    analysis = json.loads(analyse(document, scores, model, options).model_dump_json())
    text, summary = analysis["text"], analysis["summary"]
    assert text == document.text
    for quote in [*(e for topic in analysis["topics"] for e in topic["evidence"]), *summary["sentences"]]:
        assert text[quote["offset"] : quote["offset"] + quote["length"]] == quote["text"] != ""
    assert summary["sentences"] and summary["text"] == "\n".join(sentence["text"] for sentence in summary["sentences"])


def one(data: bytes | str, format: str, model: Model, options: Options, seed: int) -> None:
    with in_time():
        try:
            document = read(data, format=format, title="", id="x")
        except ReadingError as error:
            assert str(error)
        else:
            check(document, model, options, seed)


SCORES = st.integers(0, 2**32)


@given(text=TEXTS, format=st.sampled_from(["auto", "auto", *FORMATS]), options=OPTIONS, seed=SCORES)
@share(45)
def test_text(model: Model, text: str, format: str, options: Options, seed: int) -> None:
    one(text, format, model, options, seed)


@given(data=damaged(ENCODED), format=st.sampled_from(["auto", "auto", *FORMATS]), options=OPTIONS, seed=SCORES)
@share(25)
def test_bytes_of_any_encoding(model: Model, data: bytes, format: str, options: Options, seed: int) -> None:
    one(data, format, model, options, seed)


@functools.cache
def _files() -> list[tuple[str, bytes]]:
    body = "市卫生健康委员会自三月起为全市孕妇提供免费的产前基因筛查，首批设立十二个采血点，覆盖全部县区。"
    return [
        ("pdf", make_pdf(column(body * 3), column(body), title="通知")), ("docx", make_docx(paragraph(body) * 4, title="通知")),
        ("eml", raw_mail(body.encode("gb18030"), "text/plain; charset=gb18030", "通知".encode())),
        ("eml", raw_mail(f"<p>{body}</p>".encode(), "multipart/mixed; boundary=b")),
    ]


@given(data=st.data(), options=OPTIONS, seed=SCORES)
@share(10)
def test_files(model: Model, data: st.DataObject, options: Options, seed: int) -> None:
    format, whole = data.draw(st.sampled_from(_files()))
    content = data.draw(damaged(st.just(whole)))
    one(content, data.draw(st.sampled_from([format, "auto"])), model, options, seed)


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda v: (
    st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)), max_leaves=8)
FIELD_NAMES = ["id", "title", "text", "format", "x"]
REQUESTS = st.builds(
    lambda documents, more: {"documents": documents, **more},
    st.lists(st.one_of(
        st.builds(lambda text, id: {"text": text, "id": id}, TEXTS, st.text(max_size=9)),
        st.dictionaries(st.sampled_from(FIELD_NAMES), VALUES | TEXT, max_size=4), VALUES), max_size=4) | VALUES,
    st.dictionaries(st.sampled_from([*Options.model_fields, "x"]), VALUES, max_size=2),
)
BODIES = st.builds(lambda request, plain: json.dumps(request, ensure_ascii=plain).encode("utf-8", "surrogatepass"),
                   st.one_of(REQUESTS, REQUESTS, VALUES), st.booleans())


@given(body=st.one_of(BODIES, damaged(BODIES)), seed=SCORES)
@share(20)
def test_bodies(model: Model, body: bytes, seed: int) -> None:
    """What the service does with a body: a request or a ValidationError, and then an answer for every document."""
    with in_time():
        assert valid_unicode(body).decode() is not None
        if misshapen(body, 16, 10_000):
            return
        try:
            request = AnalyzeRequest.model_validate_json(valid_unicode(body))
            check_options(request, model)
        except ValidationError as error:
            json.dumps(error.errors(include_input=False, include_url=False, include_context=False)).encode()
            return
        except UnknownTopicError as error:
            assert str(error).encode()
            return
        found = [read_source(source) for source in sources_of(request)]
        documents = [item for item in found if isinstance(item, Document)]
        for document in documents:
            check(document, model, Options(include_text=True), seed)
        errors = [item for item in found if not isinstance(item, Document)]
        assert len(errors) + len(documents) == len(request.documents)
        AnalyzeResponse(documents=[], errors=errors).model_dump_json().encode()
