"""Which title a file has: what its properties state is often that of a template, or a file name."""

from __future__ import annotations

import contextlib
import re

_NO_TITLE = re.compile(
    r"(?:microsoft (?:word|powerpoint|excel)|wps) ?[-–—].*|about:.*|(?:\w+:)?//.*|powerpoint 演示文稿|word 文档|[\W\d_]*|"
    r"(?:untitled|document|slide|presentation|book|doc|new|print|title|null|none)[ \d._-]*|"
    r"(?:无标题|未命名|未标题|新建|文档|文稿|演示文稿|幻灯片|标题|封面|目录|附件)[ \d._-]*|"
    r".*\.(?:docx?|pdf|html?|txt|wps|et|dps|pptx?|xlsx?|rtf|odt|indd|cdr|md|tmp|eml)",
    re.IGNORECASE,
)
_MAX_LENGTH = 120


def sane(stated: str) -> str:
    """A stated title in one line, made readable; empty if it is none."""
    title = " ".join(stated.replace("\0", "").split())
    if re.search("[\x80-\xff]{2}", title):  # GB18030 that a program wrote as if it were Latin
        with contextlib.suppress(UnicodeError):
            title = title.encode("latin-1").decode("gb18030")
    return "" if len(title) > _MAX_LENGTH or "\ufffd" in title or _NO_TITLE.fullmatch(title) else title


def choose(stated: str, heading: str, beginning: str) -> str:
    """The stated title if the document's beginning shows it, else its heading, else what is stated."""
    title = sane(stated)
    if title and _bare(title) in _bare(beginning):
        return title
    return (heading if len(_bare(heading)) >= 2 and len(heading) <= _MAX_LENGTH else "") or title


def _bare(text: str) -> str:
    return re.sub(r"\W", "", text)
