"""Readings that a page put behind its characters: 網(wǎng), 項(xiàng)目, 癌癥（zhèng）, 癌(ㄧㄢˊ).

Genuine Latin in brackets stays: (GLP), (NIPT), (DNA), (SARS-CoV-2).
"""

from __future__ import annotations

import re
import unicodedata

from serving.document import HAN

_INITIAL = "zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw]"
_FINAL = (
    "iang|iong|uang|ueng|ang|eng|ong|ian|iao|ing|uai|uan|ai|an|ao|ei|en|er|ia|ie|in|iu|ou|ua|ue|ui|un|uo|van|ve|vn|"
    "a|e|i|o|u|v"
)
_SYLLABLE = re.compile(rf"(?:{_INITIAL})?(?:{_FINAL})r?|n|ng|m|hm|hng")
# Behind a character, or behind the mark that ends a link (markup.py).
_BRACKETED = re.compile(rf"(?<=[{HAN}\ue001])[(（\[［【〔]([^()（）\[\]［］【】〔〕\n]{{1,44}})[)）\]］】〕]")
_BOPOMOFO = re.compile("[\u3105-\u312f\u31a0-\u31bf]")
_BOPOMOFO_ONLY = re.compile("[\u3105-\u312f\u31a0-\u31bfˉˊˇˋ˙一\\s、,，]+")
# A syllable alone; (gene) and (a) are none.
_TONELESS = re.compile(rf"(?:{_INITIAL})(?:{_FINAL})[1-5]?|er[1-5]?|an|ai|ou|en")
_TONES = dict.fromkeys(map(ord, "\u0300\u0301\u0304\u030c"))
# From so many readings with tone marks on, a toneless syllable in brackets is a reading too: 我們(men).
_PAGE_HAS_READINGS = 3


def remove_readings(text: str) -> tuple[str, int]:
    """Take the readings out; returns the text and how many were removed."""
    if not re.search(r"[(（\[［【〔]", text):
        return text, 0
    toned = sum(1 for match in _BRACKETED.finditer(text) if _is_reading(match[1], toneless=False))
    toneless = toned >= _PAGE_HAS_READINGS
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        if not _is_reading(match[1], toneless=toneless):
            return match[0]
        count += 1
        return ""

    return _BRACKETED.sub(replace, text), count


def _is_reading(content: str, *, toneless: bool) -> bool:
    if _BOPOMOFO.search(content):
        return bool(_BOPOMOFO_ONLY.fullmatch(content))
    if not content.isascii():
        content = unicodedata.normalize("NFKC", content.replace("ɡ", "g").replace("ɑ", "a"))
    words = [word for word in re.split(r"[\s'’,，、/\-·]+", content) if word]
    if not words:
        return False
    marked = False
    for word in words:
        plain, tones = _strip_tones(word)
        if toneless and re.fullmatch(r"[a-z]+[1-5]", plain):
            plain = plain[:-1]
        if not re.fullmatch(rf"(?:{_SYLLABLE.pattern}){{1,4}}", plain):
            return False
        # Nearly every syllable of a reading has its tone; (café) and (résumé) have fewer.
        if tones and tones < 0.75 * len(_SYLLABLE.findall(plain)):
            return False
        marked |= tones > 0
    return marked or (toneless and len(words) == 1 and bool(_TONELESS.fullmatch(words[0])))


def _strip_tones(word: str) -> tuple[str, int]:
    decomposed = unicodedata.normalize("NFD", word)
    plain = decomposed.translate(_TONES)
    return unicodedata.normalize("NFC", plain).lower().replace("ü", "v"), len(decomposed) - len(plain)
