"""DOCX -> lines, by way of the HTML that mammoth makes of it: headings, lists and tables; no pictures, nothing fetched."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

import mammoth
from selectolax.lexbor import LexborHTMLParser

from serving import markup, titles
from serving.charset import characters
from serving.errors import ReadingError
from serving.markup import Extracted

MAIN = re.compile(r"word/document\d*\.xml")  # Word on the web counts them
_OLE = b"\xd0\xcf\x11\xe0"
_MAX_XML_BYTES = 128 * 1024 * 1024  # of one part, unpacked; a book of a million characters has 20 MB
_MAX_RATIO, _FREE_BYTES = 200, 8 * 1024 * 1024  # XML packs to a tenth; more than this, in a part of this size, is a bomb
_BEGINNING = 2000  # characters in which a stated title must stand to be believed
_SHORT_CELL = 60  # a longer cell is laid out like a page, with paragraphs of its own
_RUBY = re.compile(r"<w:ruby\b[^<>]*>.*?<w:rubyBase\b[^<>]*>(.*?)</w:rubyBase>.*?</w:ruby>", re.DOTALL)
# What mammoth drops together with its text: fields, formulas, lines that are broken in the old way.
_UNREAD = re.compile(rb"<w:(?:ruby|fldSimple|cr|dir|bdo)\b|<m:oMath\b")
_FIELD = re.compile(r"</?(?:w:(?:fldSimple|dir|bdo)|m:oMathPara)\b[^<>]*>")
_MATH = re.compile(r"<m:oMath(?:\s[^<>]*)?>(.*?)</m:oMath>", re.DOTALL)
_STYLES = """
p[style-name='Title'] => h1.title:fresh
p[style-name='Subtitle'] => h2:fresh
p[style-name^='toc '] => p.contents:fresh
p[style-name='TOC Heading'] => p.contents:fresh
"""
_DAMAGED = "the DOCX is damaged ({}): open it in Word or WPS, and save it anew"


def extract(data: bytes) -> Extracted:
    """Read headings, paragraphs, lists, tables and notes.

    Raises:
        ReadingError: damaged, encrypted, an old .doc, or a zip bomb.
    """
    if data.startswith(_OLE):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise ReadingError("the DOCX is encrypted: remove the password, and send it again")
        raise ReadingError("this is an old Office file (.doc), not a DOCX: save it as DOCX or PDF")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            _check(file)
            stated = _stated_title(file)
            source, readings = _without_readings(file, data)
        html = mammoth.convert_to_html(
            source, style_map=_STYLES, convert_image=mammoth.images.img_element(lambda image: {"src": ""}),
            include_embedded_style_map=False,
        ).value
    except zipfile.BadZipFile as error:
        raise ReadingError(_DAMAGED.format(error)) from error
    except (ExpatError, ElementTree.ParseError, RecursionError, KeyError, IndexError, AttributeError, ValueError, OSError,
            EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        if isinstance(error, ReadingError):
            raise
        raise ReadingError(_DAMAGED.format(type(error).__name__)) from error
    removed = Counter(readings=readings)
    html, title = _tidy(characters(html, removed), removed)
    result = markup.from_html(html, find_article=False)
    result.removed.update(removed)
    result.title = titles.choose(stated, title, result.text[:_BEGINNING])
    return result


def _check(file: zipfile.ZipFile) -> None:
    """Refuse what is no DOCX, and what would unpack to more than any document holds, before it is unpacked."""
    if not any(MAIN.fullmatch(name) for name in file.namelist()):
        raise ReadingError("this is not a DOCX (it has no word/document.xml): save the document as DOCX or PDF")
    for info in file.infolist():
        if info.flag_bits & 0x1:
            raise ReadingError("the DOCX is encrypted: remove the password, and send it again")
        if not info.filename.endswith((".xml", ".rels")):
            continue  # pictures are not unpacked
        if info.file_size > _MAX_XML_BYTES or info.file_size > max(_FREE_BYTES, _MAX_RATIO * info.compress_size):
            raise ReadingError(f"the DOCX unpacks to {info.file_size} bytes, more than a document has: split it, or save it anew")


def _stated_title(file: zipfile.ZipFile) -> str:
    """The title among the file's properties; empty if there is none."""
    try:
        root = ElementTree.fromstring(file.read("docProps/core.xml"))
    except (KeyError, ElementTree.ParseError):
        return ""
    return root.findtext("{http://purl.org/dc/elements/1.1/}title") or ""


def _without_readings(file: zipfile.ZipFile, data: bytes) -> tuple[io.BytesIO, int]:
    """The file with pinyin guides (ruby) taken out, which mammoth would drop together with their characters."""
    parts = {name: file.read(name) for name in file.namelist() if name.startswith("word/") and name.endswith(".xml")}
    if not any(_UNREAD.search(part) for part in parts.values()):
        return io.BytesIO(data), 0
    count = 0
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as target:
        for name in dict.fromkeys(file.namelist()):
            content = parts.get(name, b"")
            if _UNREAD.search(content):
                text = _MATH.sub(_formula, _FIELD.sub("", content.decode("utf-8", "replace"))).replace("<w:cr/>", "<w:br/>")
                text, found = _RUBY.subn(r"\1", text)
                content, count = text.encode(), count + found
            elif name not in parts and name.endswith((".xml", ".rels")):
                content = file.read(name)
            target.writestr(name, content)
    copy.seek(0)
    return copy, count


def _formula(match: re.Match[str]) -> str:
    """A formula's characters, one after the other."""
    return f'<w:r><w:t xml:space="preserve">{"".join(re.findall(r"<m:t(?: [^<>]*)?>([^<]*)</m:t>", match[1]))}</w:t></w:r>'


def _tidy(html: str, removed: Counter[str]) -> tuple[str, str]:
    """Take out the table of contents and the marks of notes, and make short cells one line; also the heading that begins it."""
    tree = LexborHTMLParser(html)
    if tree.body is None:
        return "", ""
    for selector, name in (
        ("p.contents", "contents_lines"), ("sup > a[id*='note-ref']", "footnote_marks"), ("li a[href*='note-ref']", ""),
    ):
        for node in tree.css(selector):
            removed[name] += bool(name)
            node.decompose()
    for cell in tree.css("td, th"):
        inner = cell.css("p")
        if inner and not cell.css_first("table") and len(cell.text()) <= _SHORT_CELL:
            for node in inner:
                node.insert_before(" ")
                node.unwrap()
    heading = tree.css_first("h1.title") or tree.css_first("h1")
    title = " ".join(heading.text().split()) if heading is not None else ""
    before = tree.body.text().split(heading.text(), 1)[0] if heading is not None and heading.text() else ""
    return tree.body.inner_html or "", title if len(before) <= 200 else ""
