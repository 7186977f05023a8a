"""A report's numbers -> one HTML file that needs nothing beside it: style and script within, no address, all text escaped.

The strings of a page are in one YAML file beside its template: a mapping of keys to ``{zh: …, en: …}``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from serving.settings import get_settings

PAGE = Path(__file__).resolve().parent / "report_page"
LANGUAGES = ("zh", "en")
STRINGS = "strings.yaml"


class Texts:
    """The strings of one language; ``texts("key", n=3)`` fills them in, numbers with separators."""

    def __init__(self, folders: Sequence[Path], language: str) -> None:
        self.language = language
        self._strings: dict[str, str] = {}
        for folder in folders:
            found = yaml.safe_load((folder / STRINGS).read_text("utf-8"))
            self._strings |= {key: value[language] for key, value in found.items()}

    def __call__(self, key: str, **values: Any) -> str:
        """A string, with its values."""
        return self._strings[key].format(**{name: number(value) for name, value in values.items()})


def number(value: Any) -> str:
    """Whole numbers with separators, shares with three places, nothing as a dash; text as it is."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def share(part: float, whole: float) -> str:
    """A percentage; a dash of nothing."""
    return f"{100 * part / whole:.1f}%" if whole else "–"


def cut(text: str | None, most: int | None = None) -> str:
    """The beginning of a long text, and how much is left out."""
    most = most or get_settings().report_quote_chars
    text = text or ""
    return text if len(text) <= most else f"{text[:most]}… (+{len(text) - most:,})"


def render(template: str, texts: Texts, folders: Sequence[Path], values: Mapping[str, Any]) -> str:
    """The page. Its policy lets no script run but the one that is part of it, and nothing be loaded."""
    script = _file("tables.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(list(folders)), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "cut": cut}
    environment.globals |= {"t": texts, "share": share}
    return environment.get_template(template).render(
        language={"zh": "zh-CN", "en": "en"}[texts.language], style=Markup(_file("style.css")), script=Markup(script),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'",
        **values,
    )


@lru_cache
def _file(name: str) -> str:
    return (PAGE / name).read_text("utf-8")
