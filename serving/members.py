"""Files and members of archives -> documents, streaming, down through archives inside archives and attachments of mail.

Nothing is ever extracted to disk, and what can't be read becomes an item with an error beside the others.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import IO

from serving.compression import split_packing, unpack
from serving.containers import CONTAINERS, SEEKABLE, Member
from serving.errors import InputError, ReadingError
from serving.kinds import advice, is_hidden, is_read, suffix_of
from serving.mail import attachments
from serving.reading import SUFFIXES
from serving.rows import TABLES, Fields, Item, too_large
from serving.settings import get_settings


def read_within(where: str, open_: Callable[[], IO[bytes]], depth: int, names: Fields) -> Iterator[Item]:
    """Documents of a file inside of something, for which a failure is one line among others."""
    try:
        with open_() as stream:
            yield from read_stream(where, stream, where, depth, names)
    except InputError as error:
        yield Item(where, error=str(error).removeprefix(f"{where}: "), member=where)
    except NotImplementedError as error:  # Deflate64, which Windows uses for large members
        yield Item(where, error=f"packed in a way that is not read here ({error}): unpack it, and score the folder", member=where)
    except Exception as error:  # libraries raise what happens to happen on damaged bytes
        stated = error.strerror if isinstance(error, OSError) and error.strerror else error
        where_damaged = "damaged inside the archive" if depth else "can't be read"
        yield Item(where, error=f"{where_damaged}: {stated}", member=where)


def read_stream(name: str, stream: IO[bytes], where: str, depth: int, names: Fields) -> Iterator[Item]:
    """Documents of a stream of a kind that its name tells; ``where`` leads to it from the input, "" for the input itself."""
    bare, packing = split_packing(name)
    suffix = suffix_of(bare)
    at_top = depth == 0 and where in ("", name)
    if suffix in SUFFIXES:
        yield from read_document(where or name, unpack(stream, packing) if packing else stream, bare, depth, names)
        return
    try:
        if packing:
            stream = unpack(stream, packing)
        if suffix in SEEKABLE and (packing or depth):  # members can be sought in only by unpacking them again
            stream = _held(stream)
        if suffix in TABLES:
            yield from TABLES[suffix](stream, where or name, names)
        else:
            if depth > get_settings().max_depth:
                raise InputError(f"an archive inside {depth} others: unpack it, or set WENZHAI_MAX_DEPTH higher")
            for member in CONTAINERS[suffix](stream if hasattr(stream, "peek") else io.BufferedReader(stream)):  # type: ignore
                yield from read_member(member, f"{where}/" if where else "", depth + 1, names)
    except InputError:
        raise
    except Exception as error:  # libraries raise what happens to happen on damaged bytes
        then = "fetch it again" if at_top else "what came before is scored"
        raise InputError(f"{name}: damaged or not what its name says ({error}); {then}") from error


def read_member(member: Member, prefix: str, depth: int, names: Fields) -> Iterator[Item]:
    """Documents of a member, named with ``prefix``; none of a hidden one or of what is no document, whatever is wrong with it."""
    where = prefix + member.name
    if any(is_hidden(name) for name in member.name.split("/") if name not in (".", "..")):  # .. leads out, which is an error
        return
    if not is_read(member.name):
        yield unread(where)
    elif member.error or member.open is None:
        yield Item(where, error=member.error, member=where)
    else:
        yield from read_within(where, member.open, depth, names)


def read_document(where: str, stream: IO[bytes], name: str, depth: int, names: Fields) -> Iterator[Item]:
    """A document and, if it is a mail, those attached to it."""
    item = _limited(where, stream, name)
    yield item
    if item.format == "eml" and not item.error:
        yield from _attached(where, bytes(item.content), depth, names)  # type: ignore[arg-type]


def _attached(where: str, mail: bytes, depth: int, names: Fields) -> Iterator[Item]:
    try:
        for name, content in attachments(mail):
            place = f"{where}/{name}"
            if depth >= get_settings().max_depth:
                yield Item(place, error="attached too deep: save it, and score it by itself", member=place)
            else:
                yield from read_member(Member(name, lambda content=content: io.BytesIO(content)), f"{where}/", depth + 1, names)  # type: ignore[misc]
    except ReadingError:  # which reading the mail itself will state
        pass
    except Exception as error:
        place = f"{where}/attachments"
        yield Item(place, error=f"can't be read ({error}): save them, and score them by themselves", member=place)


def _limited(where: str, stream: IO[bytes], name: str) -> Item:
    """Read a document, at most the allowed bytes whatever its header claims."""
    limit = get_settings().max_file_bytes
    content = stream.read(limit + 1)
    if len(content) > limit:
        return Item(where, error=too_large(limit), member=where)
    return Item(where, content, format=SUFFIXES.get(suffix_of(name), "auto"), member=where)


def _held(stream: IO[bytes]) -> IO[bytes]:
    """An archive that must be read from its end, in memory."""
    limit = get_settings().max_nested_bytes
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise InputError(f"an archive inside an archive, larger than {limit} bytes: unpack it first")
    return io.BytesIO(content)


def unread(where: str) -> Item:
    """For a file that is not of a kind that is read: an error if it holds documents all the same, else ignored."""
    if advice(where):
        return Item(where, error=f"not a kind of document that is read here: {advice(where)}", member=where)
    return Item(where, ignored=True, member=where)
