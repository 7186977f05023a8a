"""Blocks that are not the article: official tables above it, lists of links, related links and notices behind it."""

from __future__ import annotations

import re
from collections import Counter

from serving import noise_rules as rules

LINK_OPEN, LINK_CLOSE = "\ue000", "\ue001"  # private marks that visible.py and markdown.py put around the text of links
LINK = re.compile(f"{LINK_OPEN}[^{LINK_OPEN}{LINK_CLOSE}]*{LINK_CLOSE}")
_PROSE_LENGTH = 40
_NUMBER = re.compile(r"\w{1,20}[〔\[［(（]\d{4}[〕\]］)）]\s?(?:第\s?)?\d{1,5}\s?号")  # of an official document
# The day of a headline in a list. Not 12.5, which may be a price beside what a table links to.
_DAY = re.compile(
    r"(?:(?:19|20)\d\d\s?[-/.年]\s?\d{1,2}\s?[-/.月]\s?\d{1,2}|\d{1,2}(?:[-/]|\s?月\s?)\d{1,2})日?(?:\s+\d{1,2}:\d\d(?::\d\d)?)?"
)
LINK_LIST = 3  # so many lines in a row that are nothing but a link each are a list of links


def unmarked(line: str) -> str:
    """The line without the marks of its links."""
    return line.replace(LINK_OPEN, "").replace(LINK_CLOSE, "").strip()


def is_prose(line: str) -> bool:
    """A line of the article for certain: long, and it ends like a sentence."""
    return len(line) >= _PROSE_LENGTH and bool(rules.PROSE_END.search(line[-8:])) and not is_notice_line(line)


def is_notice_line(line: str) -> bool:
    """A sentence in which a site speaks of its own copyright or liability."""
    match = rules.COPYRIGHT.search(line) if len(line) < 400 else None
    # A paragraph of the article on which a notice hangs at the end is the article.
    return match is not None and match.start() < 40 and bool(rules.SELF.search(line))


def without_official_table(lines: list[str], removed: Counter[str], known: str = "") -> tuple[list[str], str, str]:
    """Take out 索引号, 发文机关, 成文日期 … above an official document, with their values; returns lines, title and date.

    ``known`` is the title as far as it is known from elsewhere.
    """
    title = date = ""
    head = [unmarked(line) for line in lines[:40]]
    end = next((i for i, line in enumerate(head) if is_prose(line)), len(head))
    labels = [i for i, line in enumerate(head[: end + 1]) if rules.OFFICIAL_LABEL.match(line)]
    if len(labels) < 3:
        return lines, title, date
    gone: set[int] = set()
    for i in labels:
        value = rules.OFFICIAL_LABEL.match(head[i])[1]  # type: ignore[index]
        names_title = head[i].startswith(("标", "名", "信息名"))
        below = i - 1 in gone and i - 1 not in labels  # so it was with the label before
        gone.add(i)
        # Its value stands below, if another label follows that; else it may be missing, and the document begins here.
        if not value and i + 1 < len(head) and i + 1 not in labels and (
            i + 2 in labels
            or ("号" in head[i] and _NUMBER.fullmatch(head[i + 1]))
            or (below and _is_value(head[i + 1], "" if names_title else title or known))
        ):
            value = head[i + 1]
            gone.add(i + 1)
        if "日期" in head[i]:
            date = date or rules.normal_date(value)
        elif names_title:
            title = title or value
    removed["source_lines"] += len(gone)
    return [line for i, line in enumerate(lines) if i not in gone], title, date


def _is_value(line: str, title: str) -> bool:
    """Whether a line can be the last value of an official table: short, no sentence or salutation, not the printed title."""
    bare = re.sub(r"\W", "", line)
    return len(line) < _PROSE_LENGTH and not rules.ENDS_SENTENCE.search(line) and not re.sub(r"\W", "", title).startswith(bare)


def without_link_lists(lines: list[str], removed: Counter[str]) -> list[str]:
    """Take out runs of lines that are nothing but one link each, and its day."""
    kept: list[str] = []
    run: list[str] = []
    for line in [*lines, ""]:
        if LINK.search(line) and not _beside_links(line) and not rules.PROSE_END.search(unmarked(line)[-8:]):
            run.append(line)
            continue
        if len(run) >= LINK_LIST:
            removed["links"] += len(run)
        else:
            kept.extend(run)
        run = []
        kept.append(line)
    return kept[:-1]


def _beside_links(line: str) -> str:
    """What a line says that is no link, and no day."""
    return re.sub(r"\W", "", _DAY.sub("", LINK.sub(" ", line), count=1))


def cut_tail(lines: list[str], removed: Counter[str]) -> list[str]:
    """Cut off related-link, hot-news and copyright blocks behind the article, and all that follows them.

    A cut is made at the earliest heading behind which every block, up to the end, is no article.
    """
    bare = [unmarked(line) for line in lines]
    cut, reason, end = len(lines), "", len(lines)
    for i in range(len(lines) - 1, 0, -1):
        if rules.AFTER.match(bare[i][:60]) and len(bare[i]) < 30:
            kind, ours = "related_links", _are_teasers(bare[i + 1 : end])
        elif len(bare[i]) < 60 and (rules.NOTICE_HEADING.match(bare[i]) or is_notice_line(bare[i])):
            kind, ours = "copyright", _are_notices(bare[i + 1 : end])
        else:
            continue
        if not ours:
            break
        cut, reason, end = i, kind, i
    if not reason or not any(len(line) > 15 and rules.ENDS_SENTENCE.search(line) for line in bare[:cut]):
        return lines
    removed[reason] += len(lines) - cut
    return lines[:cut]


def _are_teasers(lines: list[str]) -> bool:
    """Whether the block behind a heading is a list of foreign headlines rather than part of the article."""
    stamps = sum(1 for line in lines if (match := rules.DATE_LINE.match(line[:60])) and not match[3])
    if stamps >= 3:
        return True
    sentences = sum(
        1 for line in lines
        if len(line) > 30 and not rules.TEASER_END.search(line) and not is_notice_line(line)
        and (rules.PROSE_END.search(line[-8:]) or line[-1] in "”；;）)：:")
    )
    return sentences <= len(lines) * 0.2


def _are_notices(lines: list[str]) -> bool:
    """Whether what follows a copyright heading belongs to it: its clauses, addresses, and nothing of the article."""
    ours = [bool(rules.SELF.search(line[:400])) or (len(line) < 40 and not line.endswith("。")) for line in lines]
    if any(not mine and is_prose(line) for mine, line in zip(ours, lines)):
        return False
    return sum(ours) >= len(lines) * 0.7
