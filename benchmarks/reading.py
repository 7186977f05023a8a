"""Reading: what each extractor keeps of an article and of the noise around it, and how fast, side by side.

    python benchmarks/reading.py

The documents are the five in seeds/: ``kept`` is the share of the article's characters (as seeds/expected.yaml delimits
them: first to last sentence) that come out, ``noise`` the number of strings that must not remain but do.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import trafilatura
import yaml
from selectolax.lexbor import LexborHTMLParser

from serving.errors import ReadingError
from serving.reading import read

EXPECTED = yaml.safe_load((ROOT / "seeds" / "expected.yaml").read_text("utf-8"))


def _ours(text: str) -> str:
    return read(text).text


def _trafilatura(text: str) -> str:
    return trafilatura.extract(text, favor_recall=True) or ""


def _tags_off(text: str) -> str:
    return LexborHTMLParser(text).text(separator="\n")


EXTRACTORS: dict[str, Callable[[str], str]] = {"wenzhai": _ours, "trafilatura": _trafilatura, "tags off (lexbor)": _tags_off}


def _bare(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def main() -> None:
    """Print the table."""
    texts = {name: (ROOT / "seeds" / name).read_text("utf-8") for name in EXPECTED}
    print(f"{'extractor':<20}{'kept':>8}{'noise':>8}{'ms a document':>16}{'ratio':>8}")
    base = None
    for name, extract in EXTRACTORS.items():
        kept, noise, times = [], 0, []
        for file, expected in EXPECTED.items():
            for _ in range(5):
                start = time.perf_counter()
                try:
                    found = extract(texts[file])
                except ReadingError:
                    found = ""
                times.append(time.perf_counter() - start)
            article = {_bare(s) for s in read(texts[file]).sentence_texts()}
            bare = _bare(found)
            kept.append(sum(len(s) for s in article if s in bare) / sum(map(len, article)))
            noise += sum(string in found for string in expected["must_not_remain"])
        speed = statistics.median(times) * 1000
        base = base or speed
        print(f"{name:<20}{statistics.mean(kept):>8.2f}{noise:>8}{speed:>16.2f}{speed / base:>8.2f}")


if __name__ == "__main__":
    main()
