"""PDF -> paragraphs of its text layer, read with PDFium. Run it in the converter's process: PDFium can crash or hang."""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata

import pypdfium2
import pypdfium2.raw as pdfium

from serving import titles
from serving.charset import characters
from serving.document import HAN
from serving.errors import ReadingError
from serving.markup import Extracted
from serving.pages import Line, Page, remove_running, title_lines
from serving.paragraphs import join_text, paragraphs
from serving.visible import RAISED

_BEGINNING = 2000  # characters in which a stated title must stand to be believed
_TILTED = 0.1  # radians; watermarks stand across the page
_HAN = re.compile(f"[{HAN}]")
_PUNCTUATION = re.compile("[\u3000-\u303f\uff00-\uff0f\uff1a-\uff20“”‘’…—]")
_DASHES = frozenset(map(ord, "-‐–—\x02\xad\ufffe"))
_LETTER_SPACED = 1.5  # font sizes; where most gaps are supposed to be spaces, only wider ones are
# Radicals that fonts share with the characters they are, which NFKC leaves alone. (Those of Kangxi, NFKC knows.)
_RADICALS = str.maketrans(
    "⺁⺄⺆⺇⺈⺉⺊⺋⺌⺍⺎⺗⺝⺟⺠⺩⺪⺬⺮⺯⺷⺸⺻⺼⺽⻁⻂⻃⻄⻅⻈⻉⻋⻌⻍⻎⻐⻑⻒⻓⻔⻖⻘⻙⻚⻛⻜⻝⻞⻟⻠⻡⻢⻣⻤⻥⻦⻧⻨⻩⻪⻫⻬⻭⻮⻯⻰⻱⻳⼾",
    "厂乙冂几刀刂卜㔾小小兀心月母民王疋示竹糸羊羊聿肉臼虎衤覀西见讠贝车辶辶辶钅長镸长门阝青韦页风飞食食飠饣首马骨鬼鱼鸟卤麦黄黾斉齐歯齿竜龙龜龟户",
)


def extract(data: bytes) -> Extracted:
    """Read the text layer of all pages.

    Raises:
        ReadingError: damaged, encrypted, or without text.
    """
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise ReadingError("the PDF is encrypted: remove the password, and send it again") from error
        raise ReadingError("the PDF is damaged, or not a PDF: fetch it again, or print it to a new PDF") from error
    result = Extracted("")
    pages: list[Page] = []
    empty = 0
    with document:
        for number in range(len(document)):
            try:
                page, printed = _page(document, number, result)
            except pypdfium2.PdfiumError:
                result.noted["damaged_pages"] += 1
                continue
            pages.append(page)
            empty += printed and not page.lines
        stated = document.get_metadata_value("Title") or ""
    if not any(page.lines for page in pages):
        if empty:
            raise ReadingError(f"the PDF has no text, only pictures ({empty} pages): run OCR on it first, e.g. ocrmypdf")
        raise ReadingError("the PDF has no readable page: fetch it again, or print it to a new PDF")
    result.noted["pages_without_text"] = empty
    remove_running(pages, result.removed)
    pages = [page for page in pages if page.lines]
    result.text = characters("\n".join(paragraphs(pages)), result.removed)
    result.title = titles.choose(_normal(stated), join_text(title_lines(pages)), result.text[:_BEGINNING])
    return result


def _page(document: pypdfium2.PdfDocument, number: int, result: Extracted) -> tuple[Page, bool]:
    """A page's lines, and whether anything at all is printed on it."""
    page = document[number]
    try:
        text = page.get_textpage()
        try:
            width, height = page.get_size()
            lines, unknown = _lines(text.raw, text.count_chars(), result)
            if unknown > sum(len(line.text) for line in lines):  # glyphs whose characters the fonts do not tell
                lines = []
            return Page(width, height, lines), pdfium.FPDFPage_CountObjects(page.raw) > 0
        finally:
            text.close()
    finally:
        page.close()


def _lines(text: object, count: int, result: Extracted) -> tuple[list[Line], int]:
    """PDFium's lines with their places, and how many characters could not be told."""
    lines: list[Line] = []
    start = unknown = 0
    codes = [pdfium.FPDFText_GetUnicode(text, i) for i in range(count)]
    # PDFium goes on in the same line before and behind what may be a hyphen.
    dashes = [i for i in range(1, count) if (codes[i - 1] in _DASHES or codes[i] in _DASHES) and _is_lower(text, i, i - 1)]
    for i in sorted({*(i for i in range(count) if codes[i] in (10, 13)), *dashes, count}):
        line = [k for k in range(start, i) if not chr(codes[k]).isspace()]
        start = i
        line = _once(text, codes, line)
        if not line:
            continue
        if abs(math.remainder(pdfium.FPDFText_GetCharAngle(text, line[len(line) // 2]), math.pi / 2)) > _TILTED:
            result.removed["watermark_lines"] += 1
            continue
        unknown += sum(codes[k] in (0, 0xFFFD) or 0xE000 <= codes[k] < 0xF900 for k in line)
        lines = _append(lines, _line(text, codes, line))
    return lines, unknown


def _once(text: object, codes: list[int], places: list[int]) -> list[int]:
    """The places of a line without those of characters that stand on an equal one, as outline and shadow do."""
    kept: list[int] = []
    same: dict[int, list[int]] = {}
    for k in places:
        before = same.setdefault(codes[k], [])
        if not any(_is_upon(text, one, k) for one in before[-2:]):
            before.append(k)
            kept.append(k)
    return kept


def _is_upon(text: object, one: int, two: int) -> bool:
    a, b = _box(text, one), _box(text, two)
    return abs(a.left - b.left) < 0.25 * (a.right - a.left) and abs(a.bottom - b.bottom) < 0.25 * (a.top - a.bottom)


def _is_lower(text: object, one: int, two: int) -> bool:
    """Whether the baseline of one character is clearly below that of another."""
    x, y, above = ctypes.c_double(), ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(text, two, x, above)
    pdfium.FPDFText_GetCharOrigin(text, one, x, y)
    return above.value - y.value > 0.5 * _size(text, two)


def _append(lines: list[Line], line: Line) -> list[Line]:
    """Add a line; one that PDFium broke off in mid-row is put together again."""
    last = lines[-1] if lines else line
    gap = (line.left - last.right) / (line.size or 1)
    if lines and abs(line.y - last.y) < 0.2 * line.size and -1 < gap < 0.8:
        last.text, last.right = f"{last.text}{' ' * (gap > 0.25)}{line.text}", line.right
        last.cells |= line.cells
    elif line.text:
        lines.append(line)
    return lines


def _line(text: object, codes: list[int], places: list[int]) -> Line:
    """The line that has its visible characters at ``places``."""
    size = sorted(_size(text, k) for k in places[:: max(1, len(places) // 5)])
    em = size[len(size) // 2]
    spaced, cells = _spaced(text, codes, places, em)
    left, y = ctypes.c_double(), ctypes.c_double()
    base = next((k for k in places if abs(_size(text, k) - em) < 0.12 * em), places[0])
    pdfium.FPDFText_GetCharOrigin(text, base, left, y)
    raised = _raised(text, codes, places, em, y.value)
    pieces = [" " * (k in spaced) + (chr(codes[k]).translate(RAISED) if k in raised else chr(codes[k])) for k in places]
    pdfium.FPDFText_GetCharOrigin(text, places[0], left, ctypes.c_double())
    right = max(_box(text, places[-1]).right, left.value)
    joined = "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return Line(_normal(joined).strip(), left.value, right, y.value, em, cells)


def _raised(text: object, codes: list[int], places: list[int], em: float, base: float) -> set[int]:
    """The places of exponents: small figures above the line, behind a figure or where PDFium broke the line off."""
    found: set[int] = set()
    x, y = ctypes.c_double(), ctypes.c_double()
    before = -1
    for k in places:
        if chr(codes[k]) in "0123456789+-−–" and _size(text, k) < 0.85 * em:
            pdfium.FPDFText_GetCharOrigin(text, k, x, y)
            if y.value - base > 0.2 * em and (before < 0 or before in found or chr(codes[before]).isdigit()):
                found.add(k)
        before = k
    return found


def _spaced(text: object, codes: list[int], places: list[int], em: float) -> tuple[set[int], bool]:
    """The places before which a space stands. PDFium supposes one at gaps that only spread the line, beside Chinese."""
    gaps: dict[int, float] = {}
    for before, k in zip(places, places[1:]):
        space = next((i for i in range(before + 1, k) if chr(codes[i]).isspace()), None)
        if space is not None:
            supposed = pdfium.FPDFText_IsGenerated(text, space)
            gaps[k] = (_box(text, k).left - _box(text, before).right) / (em or 1) if supposed else math.inf
    if 2 * sum(gap < _LETTER_SPACED for gap in gaps.values()) > len(places):
        return {k for k, gap in gaps.items() if gap >= _LETTER_SPACED}, False
    cells = any((_box(text, k).left - _box(text, before).right) / (em or 1) > 2.5 for before, k in zip(places, places[1:]))
    return {k for before, k in zip(places, places[1:]) if gaps.get(k, -1) > _least_gap(chr(codes[before]), chr(codes[k]))}, cells


def _least_gap(one: str, two: str) -> float:
    """The gap from which two characters are two words, in font sizes."""
    if _PUNCTUATION.match(one) or _PUNCTUATION.match(two):
        return 1.2  # its ink fills half of its width
    if one.isdigit() and two.isdigit():
        return 0.3
    chinese = bool(_HAN.match(one)) + bool(_HAN.match(two))
    return (-1, 0.4, 0.25)[chinese]


def _size(text: object, index: int) -> float:
    """The font size as printed: the font's own, times what the page scales it by."""
    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFText_GetMatrix(text, index, matrix)
    return pdfium.FPDFText_GetFontSize(text, index) * (math.hypot(matrix.c, matrix.d) or 1)


def _box(text: object, index: int) -> pdfium.FS_RECTF:
    box = pdfium.FS_RECTF()
    pdfium.FPDFText_GetLooseCharBox(text, index, box)
    return box


def _normal(text: str) -> str:
    """Radicals and compatibility characters, which PDFs hold in place of the characters that they look like, made those."""
    text = text.translate(_RADICALS)
    return re.sub("[\u2f00-\u2fdf\uf900-\ufaff\ufb00-\ufb06]+", lambda match: unicodedata.normalize("NFKC", match[0]), text)
