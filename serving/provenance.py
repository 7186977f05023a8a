"""What a result says of its document beside the analysis: a hash of what was found, and the script it is written in."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from opencc import OpenCC

from serving.document import HAN

_HAN = re.compile(f"[{HAN}]")
_LETTER = re.compile(r"[^\W\d_]")
_SAMPLE = 3_000  # characters; a document is seldom written in two scripts
_CLEAR = 4  # so many times as many characters of one script as of the other


@lru_cache(maxsize=2)
def _converter(kind: str) -> OpenCC:
    return OpenCC(kind)


def content_hash(content: bytes | str) -> str:
    """SHA-256 of a document as found, in hex; a string's is that of its UTF-8."""
    return hashlib.sha256(content.encode("utf-8", "replace") if isinstance(content, str) else content).hexdigest()


def script_of(text: str) -> str:
    """ISO 15924 code: Hans or Hant, Hani where both or neither are there, Latn, or Zyyy where there are no such letters."""
    sample = text[:_SAMPLE]
    han = len(_HAN.findall(sample))
    letters = _LETTER.findall(sample)
    if not letters:
        return "Zyyy"
    if han * 10 < len(letters):
        return "Latn" if sum(c < "\u0250" for c in letters) * 2 > len(letters) else "Zyyy"
    traditional = _differing(sample, _converter("t2s").convert(sample))
    simplified = _differing(sample, _converter("s2t").convert(sample))
    if simplified > _CLEAR * traditional:
        return "Hans"
    return "Hant" if traditional > _CLEAR * simplified else "Hani"


def _differing(a: str, b: str) -> int:
    return sum(x != y for x, y in zip(a, b))
