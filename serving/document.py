"""A cleaned document and its sentences.

Offsets and lengths count Unicode code points of ``Document.text``, so ``text[s.start:s.end]`` is the sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff〇"

# A run of terminators. A full stop ends a sentence only between Chinese characters, as journal abstracts write it.
_TERMINATOR = re.compile(rf"[。！？｡!?]+|(?<=[{HAN}）】”])[.．](?=[{HAN}“（《]|\s|$)")
_CLOSERS = "”’」』》〉）)】］]\"'"
_PAIRS = {"“": "”", "「": "」", "『": "』", "‘": "’", "《": "》", "（": "）", "(": ")", "【": "】", "［": "］", "[": "]"}
_OPENER_OF = {close: open_ for open_, close in _PAIRS.items()}
_QUOTES = "“「『‘"

# What follows a closed quotation when the sentence goes on: 他说, 该负责人表示, 王主任告诉记者 …
_ATTRIBUTION = re.compile(
    r"\s*[^，,。！？!?；;：:“”「」\n]{0,24}?"
    r"(?:说|說|表示|介绍|介紹|指出|强调|強調|认为|認為|称|稱|坦言|告诉|告訴|回忆|回憶|感慨|解释|解釋|写道|寫道|问道|問道|答道|反问|反問|回答|答|感叹|感嘆|总结|總結|提醒|建议|建議|透露|补充|補充)"
)
# A quotation inside a sentence: “……？”的疑问, “……！”成为口号
_CONTINUES = re.compile(r"\s*[的是为為这這等成作在和与與、，,；;：:]")
_WORD = re.compile(r"\w")
# A bracket or title mark that stays open for longer than this is taken for a slip of the pen.
_MAX_BRACKET = 120
# How far back an opening mark is looked for: a bound that keeps hostile text linear.
_MAX_QUOTE = 2000
# The number of a heading or of an item of a list: a stop behind it ends no sentence.
_NUMBER = re.compile(r"\s*[（(]?(?:第?[一二三四五六七八九十百]{1,4}[章节条]?|[甲乙丙丁])[）)]?")


class Sentence(NamedTuple):
    """Half-open range of code points in ``Document.text``."""

    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """One document, ready for the model.

    ``text`` is the body in its own script. ``warnings`` names what was removed or not read, as ``kind: count``, and
    ``removed`` quotes the lines among it that a reader of the source could see.
    """

    text: str
    title: str = ""
    id: str = ""
    date: str = ""
    source: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    removed: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def sentences(self) -> list[Sentence]:
        """Sentences in document order; they never overlap, and each holds at least one letter or digit."""
        return split_sentences(self.text)

    def sentence_texts(self) -> list[str]:
        """The sentences as strings."""
        return [self.text[s.start : s.end] for s in self.sentences]


def split_sentences(text: str) -> list[Sentence]:
    """Cut ``text`` at 。！？!? and at line ends; surrounding white space belongs to no sentence.

    Closing quotes and brackets stay with their sentence, a quotation stays with its attribution (“……。”他说), and
    decimals, addresses (www.example.cn, a?b=1) and short brackets are not cut.
    """
    sentences: list[Sentence] = []
    line_start = 0
    for line in text.splitlines(keepends=True):
        start = line_start
        for end in _ends(line):
            _append(sentences, text, start, line_start + end)
            start = line_start + end
        line_start += len(line)
        _append(sentences, text, start, line_start)
    return sentences


def _append(sentences: list[Sentence], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    if not _WORD.search(piece):
        return
    sentences.append(Sentence(start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())))


def _ends(line: str) -> list[int]:
    """Positions in one line after which a new sentence starts."""
    ends: list[int] = []
    previous = 0
    for match in _TERMINATOR.finditer(line):
        at = match.end()
        if match.start() < previous or _inside_address(line, match) or _is_number(line[previous : match.start()], match):
            continue
        while at < len(line) and (line[at] in "。！？" or (line[at] in _CLOSERS and _closes(line, previous, at))):
            at += 1
        if _still_open(line, previous, match.start(), at):
            continue
        if at > match.end() and _goes_on(line, previous, at):
            continue
        ends.append(at)
        previous = at
    return ends


def _is_number(before: str, match: re.Match[str]) -> bool:
    """Whether a full stop stands behind the number of a list: 一.总体要求"""
    return match.group() in ".．" and len(before) < 12 and bool(_NUMBER.fullmatch(before))


def _inside_address(line: str, match: re.Match[str]) -> bool:
    before, after = line[match.start() - 1 : match.start()], line[match.end() : match.end() + 1]
    if match.group()[0] not in "!?" or not before or not (before + after).isascii():
        return False
    return (before.isalnum() or before in "/#") and (after.isalnum() or after in "/=&")


def _closes(line: str, start: int, at: int) -> bool:
    """Whether the closing mark at ``at`` belongs to what stands before it: straight quotes only when one is open."""
    mark = line[at]
    if mark in "\"'":
        return line.count(mark, max(start, at - _MAX_QUOTE), at) % 2 == 1
    return True


def _still_open(line: str, start: int, mark: int, at: int) -> bool:
    """Whether a bracket or title mark opened in this sentence before ``mark`` closes soon after ``at``."""
    for open_ in "（(《【[［":
        close = _PAIRS[open_]
        opened = line.rfind(open_, max(start, mark - _MAX_BRACKET), mark)
        if opened >= 0 and line.rfind(close, opened, at) < 0:
            closed = line.find(close, at, opened + _MAX_BRACKET)
            if closed >= 0:
                return True
    return False


def _goes_on(line: str, start: int, at: int) -> bool:
    """Whether the sentence runs on behind the closing mark just before ``at``."""
    rest = line[at : at + 100]
    if not rest.strip() and not line[at:].strip():
        return False
    close = line[at - 1]
    opened = line.rfind(_OPENER_OF.get(close, close), max(start, at - _MAX_QUOTE), at - 1)
    if opened < 0:
        return False
    if close in "》〉":
        return True
    if _PAIRS.get(line[opened], "") == close and line[opened] not in _QUOTES:
        # A bracketed remark with its own full stop ends the sentence only where it stands alone.
        return bool(line[start:opened].strip()) and bool(_CONTINUES.match(rest))
    return bool(_ATTRIBUTION.match(rest) or _CONTINUES.match(rest))
