"""Bytes -> text: UTF-8, UTF-16, GB18030 and Big5, told apart without being told.

Own code because it measured better here than charset-normalizer, chardet and resiliparse: strict UTF-8 is near-certain
when it succeeds, and between GB18030 and Big5 the share of common characters decides, also in truncated input.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter

from serving.errors import ReadingError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)
# Frequent characters, simplified and traditional: right decodings are full of them, wrong ones are not.
_COMMON = frozenset(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得"
    "经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形"
    "相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并提直题党程展五果"
    "這為個國時來們於對會發動過說產種後學經進著電裡現實體機當點從業應開還關線內數氣變條沒結問無軍題黨醫藥療健康院疾病衛生市省區縣新聞報"
    "，。、：；！？“”（）《》「」　"
)
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_-]{2,20})", re.IGNORECASE)
_SAMPLE = 65_536
# Formats that are no text, by their first bytes, and what to do with such a file.
_UNPACK, _OCR = "unpack it first", "run OCR on it first"
_BINARY = (
    (b"%PDF", "a PDF", "give the format pdf, or auto"),
    (b"PK\x03\x04", "a zip or Office file", "unpack a zip; save a workbook or slides as PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "save it as DOCX or PDF"),
    (b"\x89PNG", "a picture", _OCR), (b"\xff\xd8\xff", "a picture", _OCR), (b"GIF8", "a picture", _OCR),
    (b"\x1f\x8b", "a gzip file", _UNPACK), (b"Rar!", "a RAR file", _UNPACK), (b"7z\xbc\xaf", "a 7z file", _UNPACK),
)
_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffd"
_INVISIBLE = re.compile(f"[{_CONTROLS}\ue000\ue001]")
_INVISIBLE_BUT_LINKS = re.compile(f"[{_CONTROLS}]")  # less the marks that are put around links while a text is cleaned
CHINESE = re.compile("[\u4e00-\u9fff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\f\x85\u2028\u2029]")
# A few replacement characters are a scar of some earlier conversion; more means that the text is not what was written.
_MAX_REPLACED_SHARE = 0.02
_DOUBTFUL_BYTES = 40
_WIDE = ("utf8", "utf16", "utf32", "gb", "big5", "cp936", "cp950", "hz", "iso2022")  # encodings that can write Chinese


def decode(data: bytes) -> str:
    """Decode a document's bytes.

    Raises:
        ReadingError: the bytes are no text, or in none of the encodings.
    """
    for magic, name, advice in _BINARY:
        if data.startswith(magic):
            raise ReadingError(f"this is {name}, not text: {advice}")
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _decode_bom(data, bom, encoding)
    utf16 = _utf16_without_bom(data)
    if utf16 is not None:
        return utf16
    text = _try(data, "utf-8")
    if text is not None:
        return text
    return _best_of_legacy(data)


def decode_declared(data: bytes, declared: str) -> str:
    """Decode bytes that came with the name of an encoding, which may be wrong, unknown or empty.

    Raises:
        ReadingError: the bytes are no text, or in none of the encodings.
    """
    name = re.sub(r"[^a-z0-9]", "", declared.lower())
    gb, big5 = name in ("gb2312", "gbk", "cp936", "gb231280"), name in ("big5", "cp950")
    try:
        told = data.decode("gb18030" if gb else "big5hkscs" if big5 else declared)
    except (LookupError, ValueError):
        return decode(data)
    if data.isascii():  # HZ and ISO-2022 are Chinese in seven bits
        return told
    try:
        found = decode(data)
    except ReadingError:
        return told
    if not name.startswith(_WIDE):
        return found
    if found == _try(data, "utf-8") and CHINESE.search(found):  # nothing is UTF-8 of Chinese by chance
        return found
    # A few characters are not enough to doubt a declaration.
    better = _score(found[:_SAMPLE]) > _score(told[:_SAMPLE]) + 0.15
    return found if better and len(data) >= _DOUBTFUL_BYTES else told


def characters(text: str, removed: Counter[str]) -> str:
    """Drop BOM, NUL and control characters, make line ends \\n, and refuse text that was decoded wrongly."""
    text = without_surrogates(text)
    replaced = text.count("\ufffd")
    if is_misdecoded(text):
        raise ReadingError(
            f"the content was decoded with the wrong encoding ({replaced} replacement characters): send the original bytes, "
            "or text decoded with the right one"
        )
    removed["undecodable_characters"] += replaced
    text = _LINE_ENDS.sub("\n", text.removeprefix("\ufeff"))
    cleaned = _INVISIBLE.sub("", text)
    removed["control_characters"] += len(text) - len(cleaned) - replaced
    return cleaned


def without_invisible(text: str, *, links: bool = False) -> str:
    """The text without what ``characters`` drops, as entities (&#8203;) bring it back in; ``links`` keeps the marks of links."""
    return (_INVISIBLE_BUT_LINKS if links else _INVISIBLE).sub("", text)


def without_surrogates(text: str) -> str:
    """Halves of surrogate pairs, which no file can hold, become replacement characters."""
    return _SURROGATE.sub("\ufffd", text)


def is_misdecoded(text: str) -> bool:
    """Whether so many replacement characters are in it that it was decoded wrongly."""
    replaced = text.count("\ufffd")
    return replaced > max(2, len(text) * _MAX_REPLACED_SHARE) or (replaced > 0 and replaced * 4 > len(text.strip()))


def _decode_bom(data: bytes, bom: bytes, encoding: str) -> str:
    text = _try(data[len(bom) :] if encoding == "utf-8" else data, encoding)
    if text is None:
        raise ReadingError(f"the byte order mark says {encoding.upper()}, but the bytes are not: save it as UTF-8")
    return text


def _try(data: bytes, encoding: str) -> str | None:
    """Decode strictly; a character cut off at the very end is dropped. None where ``encoding`` is wrong."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if len(data) > 16 and error.start >= len(data) - 3:
            try:
                return data[: error.start].decode(encoding)
            except UnicodeDecodeError:
                return None
        return None


def _utf16_without_bom(data: bytes) -> str | None:
    """UTF-16 shows in the zero bytes of its ASCII (line ends, digits), all at even or all at odd places."""
    if len(data) < 4 or b"\0" not in data[:_SAMPLE]:
        return None
    sample = data[: _SAMPLE - _SAMPLE % 2]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    for encoding, mine, other in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if mine >= max(1, len(sample) // 400) and other <= mine // 20:
            text = _try(data, encoding)
            if text is not None and _score(text[:_SAMPLE]) > 0.2:
                return text
    return None


def _best_of_legacy(data: bytes) -> str:
    """The decoding with most common characters; one with a few broken bytes is better than a wrong one without."""
    declared = _META.search(data[:4096])
    candidates: list[tuple[float, str]] = []
    for encoding in ("utf-8", "gb18030", "big5hkscs", "utf-16-le", "utf-16-be"):
        sample = data[: _SAMPLE - _SAMPLE % 4].decode(encoding, "replace")
        score = _score(sample) - 10 * sample.count("\ufffd") / max(len(sample), 1)
        if declared and _family(declared[1]) == encoding:
            score += 0.1
        candidates.append((score, encoding))
    score, encoding = max(candidates)
    if score < 0.05:
        raise ReadingError("the content can't be decoded as UTF-8, UTF-16, GB18030 or Big5: save it as UTF-8")
    text = _try(data, encoding)
    return data.decode(encoding, "replace") if text is None else text


def _family(name: bytes) -> str:
    lowered = name.lower()
    return "gb18030" if lowered.startswith((b"gb", b"cp936")) else "big5hkscs" if lowered.startswith(b"big5") else ""


def _score(text: str) -> float:
    """Share of common characters among those beyond ASCII, less that of private and control characters."""
    beyond = [c for c in text if c > "\x7f"]
    odd = sum(1 for c in text if "\ue000" <= c <= "\uf8ff" or (c < " " and c not in "\t\n\r\0\f\v"))
    return (sum(c in _COMMON for c in beyond) - 3 * odd) / max(len(beyond), 1)
