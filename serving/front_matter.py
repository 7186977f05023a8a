"""Jekyll's and Hexo's front matter; broken YAML is read line by line."""

from __future__ import annotations

import re

import yaml
from frontmatter.default_handlers import YAMLHandler

_FRONT_MATTER = re.compile(r"\s{0,200}---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
# Hexo lets the opening rule out.
_HEXO = re.compile(
    r"\s{0,200}((?:(?:title|date|tags|categories|layout|author)[ \t]*:.*\n(?:[ \t]*- .*\n)*)+)---[ \t]*(?:\n|\Z)"
)
_KEY = re.compile(r"^([A-Za-z][\w-]*)[ \t]*:(?:[ \t]+|$)", re.MULTILINE)
_LIMIT = 20_000


def split(text: str) -> tuple[str, dict[str, str]]:
    """The text without its front matter, and what that states; an empty mapping where there is none."""
    head = text[:_LIMIT]
    match = _FRONT_MATTER.match(head) or _HEXO.match(head)
    if not match or not _KEY.search(match[1]):
        return text, {}
    meta = _yaml(match[1])
    if meta is None:
        lines = [line for line in match[1].split("\n") if line.strip()]
        # Broken YAML, or two rules around a paragraph with a colon in it?
        if sum(1 for line in lines if _KEY.match(line) or line.lstrip().startswith(("-", "#"))) < 0.6 * len(lines):
            return text, {}
        meta = dict(re.findall(r"^([A-Za-z][\w-]*)[ \t]*:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", match[1], re.MULTILINE))
    return text[match.end() :], {str(key).lower(): _flatten(value) for key, value in meta.items()}


def _yaml(text: str) -> dict[object, object] | None:
    """The front matter as a mapping of text; None if it is no YAML, no mapping, or built of aliases (a bomb).

    A title may be ``no``, ``12:30`` or ``1_000``: what YAML makes of them is not what was written.
    """
    if re.search(r"[&*]\w+", text) and re.search(r":\s+[&*]\w|-\s+[&*]\w|\[\s*\*", text):
        return None
    try:
        loaded = YAMLHandler().load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) and loaded else None


def _flatten(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_flatten(item) for item in value)
    text = str(value).strip()
    return "" if text.lower() in ("~", "null") else text
