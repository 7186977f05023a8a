"""Unlabelled documents, read as in serving, as the text and the tokens that pre-training learns from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
from tokenizers import Tokenizer
from tqdm import tqdm

from serving.reading import ReadingError, read
from serving.windows import normalise
from training.data import row_id
from training.sources import raw_rows

_TOKENISED = 256  # texts at once


def read_texts(files: Sequence[str], exclude: Sequence[str], max_characters: int) -> Iterator[str]:
    """Normalised texts, sentence after sentence, of all documents that can be read, at most so many characters of each.

    Args:
        files: as ``training.sources.raw_rows`` reads them, with ``text`` and perhaps ``id`` and ``title``.
        exclude: files of rows whose ids are left out.

    Raises:
        ValueError: a file can't be read, or those to exclude have no ids.
    """
    problems: list[str] = []
    left_out = {_id(row) for file in exclude for _, row in raw_rows(file, problems)} - {""}
    if exclude and not left_out and not problems:
        raise ValueError(f"--exclude {', '.join(exclude)}: no row has an id")
    unread = excluded = 0
    for file in files:
        for _, row in tqdm(raw_rows(file, problems), desc=Path(file).name, unit="doc", mininterval=1):
            if _id(row) in left_out:
                excluded += 1
                continue
            try:
                document = read(str(row.get("text") or ""), title=str(row.get("title") or ""))
                text = "\n".join(normalise(part) for part in (document.title, *document.sentence_texts()) if part)
            except (ReadingError, UnicodeError):
                unread += 1
                continue
            yield text[:max_characters]
    if problems:
        raise ValueError("\n".join(problems[:10]))
    if excluded or unread:
        click.echo(f"{excluded} documents are excluded, {unread} have no readable text", err=True)
    if left_out and not excluded:
        click.echo(f"note: no document has one of the {len(left_out)} ids of --exclude, so none is left out", err=True)


def _id(row: dict[str, Any]) -> str:
    """As training data have it; empty where there is none."""
    value = row_id(row.get("id"))
    return "" if value is None else str(value)


def token_lists(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[list[int]]:
    """Token ids of each text, without special tokens."""
    iterator = iter(texts)
    while part := list(islice(iterator, _TOKENISED)):
        yield from (encoding.ids for encoding in tokenizer.encode_batch(part, add_special_tokens=False))
