"""Lines that are not the article: bylines and source lines, navigation, sharing, copyright, teasers behind the end.

Each rule is about the form of a whole line (``noise_rules.py``) and where it stands: above the first prose, below the
last, or between. None removes a sentence from within a paragraph.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from serving import noise_rules as rules
from serving.noise_blocks import (
    LINK,
    LINK_CLOSE,
    LINK_OPEN,
    cut_tail,
    is_notice_line,
    is_prose,
    unmarked,
    without_link_lists,
    without_official_table,
)
from serving.noise_rules import normal_date

__all__ = ["LINK_CLOSE", "LINK_OPEN", "Cleaned", "clean", "normal_date", "unmarked"]

_HEAD_LINES = 12  # how far down a byline block reaches


@dataclass
class Cleaned:
    """Lines of the article, and what the removed ones stated."""

    lines: list[str]
    title: str = ""
    date: str = ""
    source: str = ""
    removed: Counter[str] = field(default_factory=Counter)
    original_title: str = ""


def clean(raw: Sequence[str], title: str = "") -> Cleaned:
    """Drop the lines that are not the article. ``title`` is what is known of it; else a heading line is taken."""
    result = Cleaned([], title=title)
    raw, stated, result.date = without_official_table(list(raw), result.removed, title)
    result.title = title or stated
    raw = cut_tail(without_link_lists(raw, result.removed), result.removed)
    prose = [i for i, line in enumerate(raw) if is_prose(unmarked(line))]
    first, last = (prose[0], prose[-1]) if prose else (len(raw), -1)
    lines: list[str] = []
    for i, line in enumerate(raw):
        following = raw[i + 1] if i + 1 < len(raw) else ""
        kept = _keep(line, i < min(first, _HEAD_LINES), i >= last, following, result)
        if kept is not None:
            lines.append(kept)
    result.lines = [line for line in _head(lines, result) if line]
    if not result.lines:
        result.lines = _left_alone(raw, title, result)
    if result.lines and rules.END_MARK.search(result.lines[-1][-12:]):
        result.removed["end_marks"] += 1
        result.lines[-1] = result.lines[-1][:-12] + rules.END_MARK.sub("", result.lines[-1][-12:])
    return result


def _left_alone(raw: Sequence[str], title: str, result: Cleaned) -> list[str]:
    """What is kept of a text of which nothing is left: a flash of news that is all headline, or its only line
    (记者：…被罚7.5万镑, 商品高位整理), which begins or ends as a byline does but states something, with no title above it."""
    if result.original_title:
        return [result.original_title]
    only = [line for line in map(unmarked, raw) if re.search(r"\w", line)]
    if title or len(only) != 1 or result.removed["source_lines"] != 1 or not _states_something(only[0]):
        return []
    result.removed["source_lines"], result.date, result.source = 0, "", ""
    return only


def _states_something(line: str) -> bool:
    if rules.SOURCE.search(line) or rules.DATE_LINE.match(line[:120]):
        return False
    if match := rules.BYLINE.match(line):
        value = match[2].strip()
        named = rules.NAMES.match(value) or rules.OUTLET_END.search(value) or re.search(r"\s|^[\d.,万\W]+$", value)
        return bool(re.search(r"[，。！？；]", value)) or (len(value) >= 10 and not named)
    return len(line) >= 8 and not re.search(r"[编編记記供]", line)


def _keep(raw: str, in_head: bool, in_tail: bool, following: str, result: Cleaned) -> str | None:
    """The line without link marks and table bars; None, or "" in the head, for a line that is no part of the article."""
    line = unmarked(raw)
    bare = line.strip("|｜ \t")
    if bare != line:
        result.removed["table_bars"] += 1
        line = bare
    line, adverts = rules.HANGING_ADVERT.subn("", line)
    result.removed["adverts"] += adverts
    if not re.search(r"\w", line):
        return None
    reason = _reason(line, raw, in_head, in_tail)
    if reason is None and _is_date_line(line, in_head, following):
        reason = "source_lines"
    if reason is None:
        return line
    result.removed[reason] += 1
    if reason != "source_lines":
        return None
    if (stamp := rules.DATE_LINE.match(line[:120])) or (in_head and (stamp := re.match(r"()(.*)", line))):
        result.date = result.date or normal_date(stamp[2])
    if not result.source and (match := rules.SOURCE.search(line)):
        result.source = match[1].strip("】])）。")
    if match := rules.ORIGINAL_TITLE.match(line):
        result.original_title = match[1]
        result.title = result.title or match[1]
    # A removed line still says where the head of a scraped page ends.
    return "" if in_head else None


def _is_date_line(line: str, in_head: bool, following: str) -> bool:
    """A line of its own with the date of publication; not the first words of a sentence, nor when an event takes place."""
    match = rules.DATE_LINE.match(line[:120]) if len(line) < 120 else None
    if match is None:
        return False
    label, rest = match[1] or "", match[3].strip()
    of_event = re.match(r"[会活培报]?.{0,2}(?:地\s?点|地\s?址|参加|对象|主题|内容)", unmarked(following))
    if of_event and label in ("时间", "時間", "日期"):
        return False
    if not rest or not re.search(r"\w", rest):
        return in_head or bool(label)
    if re.search(r"[，。！？]", rest):
        return False
    labelled = rules.BYLINE.match(rest) or rules.SOURCE.match(rest) or rules.BUTTON.sub("", rest) == ""
    return bool(labelled) or (in_head and len(rest) <= 14 and bool(rules.OUTLET_END.search(rest)))


def _reason(line: str, raw: str, in_head: bool, in_tail: bool) -> str | None:
    """Why a line is removed; None if it stays."""
    if not re.search(r"\w", rules.URL.sub("", line)) or _is_link_line(line, raw):
        return "links"
    if is_notice_line(line) and (in_tail or in_head or len(line) < 160):
        return "copyright"
    if len(line) >= 80:
        return None
    if rules.ADVERT.search(line):
        return "adverts"
    at_edge = in_head or in_tail
    if not rules.BUTTON.sub("", line) or (rules.SHARE_LINE.match(line) and (at_edge or not rules.PROSE_END.search(line))):
        return "buttons"
    if in_tail and rules.NEIGHBOUR.match(line):
        return "related_links"
    if not rules.PROSE_END.search(line) and _is_navigation(line, in_head):
        return "navigation"
    return "source_lines" if _is_byline(line, at_edge) else None


def _is_link_line(line: str, raw: str) -> bool:
    links = len(LINK.findall(raw))
    only_links = links and len(re.sub(r"\W", "", LINK.sub("", raw))) <= 2 and not rules.PROSE_END.search(line)
    if only_links and (links > 1 or "原文" in line):
        return True
    return bool(rules.RETURN.search(line)) and not re.search(r"\w", rules.BUTTON.sub("", rules.RETURN.sub("", line)))


def _is_navigation(line: str, in_head: bool) -> bool:
    if rules.NAVIGATION.match(line) or (in_head and rules.PAGE_NAME.match(line)):
        return True
    from_home = in_head or line.startswith(("首", "主页", "网站"))
    return from_home and bool(rules.CRUMBS.match(line)) and bool(re.search("[一-鿿]", line))


def _is_byline(line: str, at_edge: bool) -> bool:
    """Source, editors, counters. Between the paragraphs only what can be nothing else."""
    if re.fullmatch(r"[(（【\[][^()（）]{0,6}" + rules.SOURCE.pattern + r"[^()（）。]{0,20}[)）】\]]", line):
        return True
    if len(line) <= 20 and at_edge and rules.TEAM.match(line):
        return True
    match = rules.BYLINE.match(line)
    if not match:
        return False
    if rules.ORIGINAL_TITLE.match(line):
        return True
    value = match[2].strip()
    if re.search(r"[。！？?!].|[！？?!]$|，.*，", value) or (value.endswith("。") and not rules.OUTLET_END.search(value)):
        return False
    is_source = "源" in match[1] or match[1].startswith(("转", "轉", "摘", "出"))
    if at_edge:
        return not re.match(r"(?:收入|资金|经费|数据|样本|病例)", value)
    return bool((rules.OUTLET_END.search(value) and len(value) < 20) if is_source else rules.NAMES.match(value))


def _head(lines: list[str], result: Cleaned) -> list[str]:
    """Title and byline block of a scraped page: what stands above the first real line.

    Removed source and date lines are still there as empty strings; short lines between the title and the last of them
    (an author's name, a read counter) go with them, if prose follows: without it they may be all that the document says.
    """
    last = max((i for i, line in enumerate(lines[:_HEAD_LINES]) if line == ""), default=-1)
    body = [line for line in lines[last + 1 :] if line]
    above = [line for line in lines[: last + 1] if line]
    if last >= 0 and body and all(len(line) < 60 and not rules.PROSE_END.search(line) for line in above):
        if above and not result.title:
            result.title = above[0]
        rest = [line for line in above if not _same(line, result.title)]
        is_page = any(map(is_prose, body))
        kept = [line for line in rest if not is_page or len(line) > 12 or not re.fullmatch(r"[\w·\s]+", line)]
        result.removed["source_lines"] += len(rest) - len(kept)
        return _without_title(kept + body, result.title)
    lines = above + body
    if not result.title and (parts := _printed_title(lines)):
        result.title = "".join(lines[:parts])
        return lines[parts:]
    if not result.title and len(lines) > 1 and _is_title(lines[0], lines[1]):
        result.title = lines[0]
    return _without_title(lines, result.title)


def _printed_title(lines: list[str]) -> int:
    """Over how many lines an official document's title is printed, 2 or 3; 0 where it stands in one, or there is none."""
    if not lines or not rules.OFFICIAL_TITLE.search(lines[0]) or rules.OFFICIAL_TITLE_END.search(lines[0]):
        return 0
    for parts in (2, 3):
        if len(lines) <= parts or len(lines[parts - 1]) >= 40 or rules.ENDS_SENTENCE.search(lines[parts - 1]):
            return 0
        if rules.OFFICIAL_TITLE_END.search(lines[parts - 1]):
            return parts if len(lines[0]) < 40 and not rules.ENDS_SENTENCE.search(lines[0]) else 0
    return 0


def _same(line: str, title: str) -> bool:
    return re.sub(r"\W", "", line) == re.sub(r"\W", "", title)


def _without_title(lines: list[str], title: str) -> list[str]:
    """A body that repeats its title in its first lines shows it once; one that is all title keeps it."""
    if title and len(lines) > 1:
        for i, line in enumerate(lines[:2]):
            if _same(line, title):
                return lines[:i] + lines[i + 1 :]
    return lines


def _is_title(line: str, following: str) -> bool:
    if abs(len(line) - len(following)) <= 2 and len(line) > 24 and not rules.PROSE_END.search(following):
        return False  # text that is wrapped at a fixed width
    return (
        4 <= len(line) <= 60 and not rules.ENDS_SENTENCE.search(line) and not rules.ITEM.match(line)
        and not line.startswith(("——", "第")) and not line.endswith(("，", ",", "、")) and len(following) > len(line) / 2
        and not re.search(r"\d[日号]\s?(?:电|電|讯|訊)|[电電讯訊]\s?[（(]", line)
    )
