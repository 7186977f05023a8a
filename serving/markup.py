"""HTML (pages, fragments, HTML inside Markdown) and Markdown -> lines of plain text.

Full pages go through trafilatura, which finds the article; what it finds nothing in, and every fragment, is walked with
Lexbor (``visible.py``), because trafilatura returns nothing for short fragments.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from serving import markdown, visible
from serving.html_repair import mend
from serving.noise_blocks import unmarked

_ATTRIBUTES = r"(?:\s[^<>]{0,4000})?"
_TAG = re.compile(
    r"<(?:!doctype\b|!--|/?(?:html|head|body|p|br|hr|div|span|a|img|b|i|u|em|strong|font|center|table|tbody|tr|td|th|ul|ol|li|"
    r"dl|dt|dd|h[1-6]|section|article|blockquote|pre|code|script|style|iframe|sup|sub|meta|link|title|ruby|figure|o:p)"
    rf"{_ATTRIBUTES}/?>)",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br ?/?>|</p>", re.IGNORECASE)
_PAGE = re.compile(r"<(?:!doctype\s+html|html|body)\b", re.IGNORECASE)
_ANCHOR = 10  # from so many characters on, a sentence is not found twice in a page by chance
_AUTOLINK = re.compile(r"<((?:https?:)?//[^\s<>]{1,2000})>")
_SITE_SUFFIX = re.compile(
    r"\s?[_|｜]\s?[^_|｜]{2,24}$|\s[-–—]\s?[^-–—\s]{2,20}$|[-–—][^-–—\s]{0,16}(?:网|網|在线|日报|新闻|政府|频道)$"
)
# Not before what may be a site itself: 我市建成妇幼健康服务网_某某省卫生健康委员会
_SITE_PREFIX = re.compile(
    r"^[^_|｜\s]{2,9}(?:网|網|网站|在线|日报|频道)(?:\s?[_|｜]|\s[-–—]\s)\s?(?=[^_|｜]{8})"
    r"(?!.*(?:网|網|站|在线|报|社|新闻|频道|专题|政府|委|委员会|局|厅|部|中心|医院|大学|学会|协会|公司)$)"
)
_SEPARATOR = re.compile(r"[\s_|｜–—-]+")
# The address of a site's first page.
_HOME = re.compile(r"(?:(?:https?:)?//[^/?#]+/?|(?:\.{0,2}/)+)(?:(?:index|default)\.\w{3,5})?")


@dataclass
class Extracted:
    """Plain text in lines, what the page says of itself, and counts of what was removed, or is worth a warning else.

    ``byline`` is what stands between a page's headline and its article; what is guessed counts less than what that states.
    ``dropped`` quotes what was removed, where it is text.
    """

    text: str
    title: str = ""
    date: str = ""
    source: str = ""
    category: str = ""
    tags: str = ""
    guessed_date: str = ""
    guessed_source: str = ""
    is_page: bool = False
    byline: list[str] = field(default_factory=list)
    removed: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)


def looks_like_html(text: str) -> bool:
    """Whether a text is a page or holds more than a stray tag; one that parts lines is none."""
    return is_page(text) or len(_TAG.findall(text[:20_000])) >= 2 or bool(_BREAK.search(text[:20_000]))


def is_page(text: str) -> bool:
    """Whether a text begins like a whole page."""
    return bool(_PAGE.search(text[:2000]))


def from_html(text: str, *, find_article: bool = True) -> Extracted:
    """A page, or a fragment, to lines; of a page only its article, unless told that all of it is the document."""
    text, removed = mend(text)
    tree = LexborHTMLParser(text)
    result = _stated(tree)
    result.removed = removed
    root = tree.body or tree.root
    if root is None:
        return result
    removed["images"] += len(root.css("img"))
    result.text, unseen = visible.walk(root, removed)
    result.dropped += filter(None, (_flat(node) for node in unseen if visible.is_text(node)))
    if find_article and is_page(text):
        result.is_page = True
        for node in unseen:
            node.decompose()
        _article(tree, result)
    return result


def _stated(tree: LexborHTMLParser) -> Extracted:
    """What the head says: the names that Chinese government sites must use, and Open Graph's."""
    meta: dict[str, str] = {}
    for node in tree.css("meta[content]"):
        name = (node.attributes.get("name") or node.attributes.get("property") or "").lower()
        meta.setdefault(name, " ".join((node.attributes.get("content") or "").split()))
    page = _flat(tree.css_first("title"))
    headings = [heading for node in tree.css("h1")[:5] if (heading := _flat(node)) and not (page and _is_logo(node))]
    title = meta.get("articletitle") or _title(page, headings, meta.get("og:title", ""))
    return Extracted(
        "", title=title, source=meta.get("contentsource", ""), category=meta.get("columnname", ""),
        date=meta.get("pubdate") or meta.get("publishdate") or meta.get("article:published_time") or "",
        tags=meta.get("keywords", ""),
    )


def _title(page: str, headings: list[str], og: str) -> str:
    """The headline, by the page's title, its headings and Open Graph's title.

    A heading within or behind the page's title may be a section or the site, unless it is the longest part.
    """
    page = _SITE_PREFIX.sub("", page)
    if begins := [heading for heading in headings if page.startswith(heading)]:
        return max(begins, key=len)
    if og or not page:
        return og or "".join(headings[:1])
    longest = max((heading for heading in headings if heading in page), key=len, default="")
    if len(longest) >= max(map(len, _SEPARATOR.split(page))):
        return longest
    return _SITE_SUFFIX.sub("", _SITE_SUFFIX.sub("", page))


def _is_logo(heading: LexborNode) -> bool:
    """Whether a heading is nothing but a link to the site's first page."""
    link = heading.css_first("a[href]")
    return link is not None and _flat(link) == _flat(heading) and bool(_HOME.fullmatch((link.attributes["href"] or "").strip()))


def _flat(node: LexborNode | None) -> str:
    return " ".join(node.text(deep=True).split()) if node is not None else ""


def _article(tree: LexborHTMLParser, result: Extracted) -> None:
    """Put the article that trafilatura finds in the page in place of the page's whole text."""
    import trafilatura  # 0.5 s, and only pages need it

    found = trafilatura.bare_extraction(
        tree.html or "", include_comments=False, include_tables=True, favor_recall=True, with_metadata=True,
        # An extensive search makes dates up from years: of what the article tells of, or of the copyright.
        date_extraction_params={"original_date": True, "extensive_search": False},
    )
    if found is None or not found.text or len(found.text) < 40:
        return
    lines = result.text.splitlines()
    found_pieces = _pieces(found.text)
    ours = [i for i, line in enumerate(lines) if len(line) >= _ANCHOR and not _pieces(line).isdisjoint(found_pieces)]
    result.title = result.title or found.title or ""
    result.guessed_date = found.date or ""
    result.guessed_source = found.sitename or ""
    if ours:
        above = [unmarked(line) for line in lines[: ours[0]]]
        if result.title in above:
            result.byline = above[len(above) - above[::-1].index(result.title) :]
        # trafilatura drops short lines and tables inside the article: keep all between its first line and its last.
        result.removed["page_lines"] += len(lines) - (ours[-1] - ours[0] + 1)
        result.dropped += lines[: ours[0]] + lines[ours[-1] + 1 :]
        result.text = "\n".join(lines[ours[0] : ours[-1] + 1])


def _pieces(text: str) -> set[str]:
    """Sentences without their marks, to find the same ones in two extractions of a page."""
    return {bare for piece in re.split(r"[。！？\n|]", text) if len(bare := re.sub(r"\W", "", piece)) >= _ANCHOR}


def from_markdown(text: str) -> Extracted:
    """Markdown, with or without HTML in it, to lines."""
    text = _AUTOLINK.sub(r"\1", text)
    title = markdown.title_of(text)
    if looks_like_html(text) or "<!--" in text:
        text, removed = mend(text)
        # Line ends of the Markdown part matter, those inside a tag don't.
        inner = re.sub(r"<[^<>]*>", lambda m: m[0].replace("\n", " "), text)
        result = from_html(inner if is_page(text) else inner.replace("\n", "<br>"))
        result.removed.update(removed)
    else:
        result = Extracted(html.unescape(text))
    result.title = title or result.title
    result.text = visible.lines(markdown.plain(result.text, result.removed))
    return result
