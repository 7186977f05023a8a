"""What a file is, by its name: a document, a table, a container of others, or none that is read here."""

from __future__ import annotations

import os

from serving.compression import split_packing
from serving.containers import CONTAINERS
from serving.reading import SUFFIXES
from serving.rows import TABLES

# Documents and archives that are not read here, and what to do: they are errors, where pictures and the like are ignored.
_CONVERT = {
    **dict.fromkeys((".doc", ".wps", ".rtf", ".odt"), "save it as DOCX or PDF"),
    **dict.fromkeys((".xls", ".xlsx", ".et", ".ods"), "save it as CSV"),
    **dict.fromkeys((".ppt", ".pptx", ".epub", ".caj", ".ofd"), "save it as PDF"),
    **dict.fromkeys((".mht", ".mhtml"), "save it as HTML"),
    **dict.fromkeys((".rar", ".lzh", ".iso"), "unpack it, or pack it as zip"),
}


def advice(name: str) -> str:
    """What to do with a document that is not read here; empty for what is none."""
    return _CONVERT.get(suffix_of(name), "")


def suffix_of(name: str) -> str:
    """In lower case, with its dot, and without that of how it is packed: .tar of a.tar.gz."""
    return os.path.splitext(split_packing(name)[0])[1].lower()


def is_hidden(name: str) -> bool:
    """Whether a file or folder name is one that systems put beside the user's."""
    return name.startswith(".") or name == "__MACOSX"


def is_archive(name: str) -> bool:
    """Whether it holds documents, how many can't be told by the name."""
    return is_read(name) and not is_document(name)


def is_table(name: str) -> bool:
    """Whether its rows are documents."""
    return suffix_of(name) in TABLES


def is_document(name: str) -> bool:
    """Whether it is one document."""
    return suffix_of(name) in SUFFIXES and not any(map(is_hidden, name.split("/")))


def is_read(name: str) -> bool:
    """Whether it is read at all."""
    return suffix_of(name) in (*SUFFIXES, *TABLES, *CONTAINERS)
