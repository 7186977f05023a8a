"""Mail (.eml) -> its text, and its attachments. Declared encodings are tried, and not believed where they are wrong."""

from __future__ import annotations

import email
import email.errors
import email.header
import email.policy
import email.utils
import mimetypes
import re
from collections import Counter
from collections.abc import Iterator
from email.message import Message

from serving import markup
from serving.charset import characters, decode_declared
from serving.errors import ReadingError
from serving.markup import Extracted
from serving.paragraphs import join_text

_HEADERS = ("from", "to", "subject", "date", "received", "message-id", "content-type", "mime-version")
_REPLY = re.compile(r"^(?:(?:re|fwd?|aw|回复|回覆|答复|答覆|转发|轉發|转寄)\s?(?:\[\d+\])?\s?[:：]\s?)+", re.IGNORECASE)
_SIGNATURE = re.compile(r"^-- \n[\s\S]*\Z", re.MULTILINE)
_QUOTED = re.compile(r"(?:^.{0,120}(?:写道|寫道|wrote)\s?[:：]\s?\n\s{0,9})?(?:^>.*(?:\n|\Z)){2,}", re.MULTILINE)
# Above the mail that is answered, as Outlook, QQ and 163 put it.
_OLDER = re.compile(
    r"^[ \t]*(?:-{3,}|_{3,})[ \t]*(?:原始邮件|原始郵件|邮件原件|原邮件|Original Message|Original)[ \t]*(?:-{3,}|_{3,})[ \t]*$|"
    r"^发件人[:：].{0,200}\n发送(?:时间|日期)[:：].{0,200}\n收件人[:：]",
    re.MULTILINE | re.IGNORECASE,
)
_FORWARDED = re.compile(r"\s*(?:fwd?|转发|轉發|转寄)\s?[:：]", re.IGNORECASE)
# A plain part that says less than this share of the HTML beside it only says that there is HTML.
_TRIVIAL_SHARE = 0.2
_NO_DOCUMENTS = ("text/calendar", "message/", "application/pkcs7", "application/pgp")
_RAW = re.compile("[\udc80-\udcff]")  # the parser's way of keeping bytes
_MAX_SIGNATURE = 2_000
_MAX_DEPTH = 20  # parts inside parts
_MAX_PARTS = 500
_MAX_HEADER = 1_000  # characters of a header with parameters, which email reads in quadratic time


def extract(data: bytes) -> Extracted:
    """Subject, date, sender and body.

    Raises:
        ReadingError: no mail, or one whose body is no text.
    """
    message = _parse(data)
    result = Extracted("")
    result.text = "\n".join(_body(message, result.removed, 0, _header(message, "subject"))).strip()
    if not result.text and any(True for _ in attachments(data)):
        raise ReadingError("the mail has no text, only attachments: send those")
    result.title = _REPLY.sub("", _header(message, "subject")).strip()
    result.date = _date(_header(message, "date"))
    sender = next((str(value) for key, value in message.raw_items() if key.lower() == "from"), "")
    name, address = email.utils.parseaddr(_without_raw_bytes(sender, _charset(message)))
    result.source = _decoded_header(name) or address
    return result


def attachments(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each attached file; pictures that stand in the text are none. An attached mail is NAME.eml.

    Raises:
        ReadingError: no mail.
    """
    yield from _attached(_parse(data), 0)


def _parse(data: bytes) -> Message:
    # The newer policies parse headers when they are asked for, and some malformed ones end that with an IndexError.
    message = email.message_from_bytes(data.removeprefix(b"\xef\xbb\xbf").lstrip(), policy=email.policy.compat32)
    if not any(name in message for name in _HEADERS):
        raise ReadingError("this is not a mail: it has no header such as 'From:' or 'Subject:'")
    _cut(message, 0, [0])
    return message


def _cut(part: Message, depth: int, count: list[int]) -> None:
    count[0] += 1
    if count[0] > _MAX_PARTS:
        raise ReadingError(f"the mail has more than {_MAX_PARTS} parts: save its attachments, and send those")
    for name in ("content-type", "content-disposition"):
        if len(str(part.get(name, ""))) > _MAX_HEADER:
            part.replace_header(name, str(part[name])[:_MAX_HEADER])
    for inner in _parts(part, depth):
        _cut(inner, depth + 1, count)


def _is_attached(part: Message) -> bool:
    disposition = part.get_content_disposition()
    text = part.get_content_type() in ("text/plain", "text/html")
    return disposition == "attachment" or bool(_filename(part)) or not (text or part.is_multipart())


def _attached(part: Message, depth: int) -> Iterator[tuple[str, bytes]]:
    kind = part.get_content_type()
    if kind == "message/rfc822" and part.is_multipart():
        inner = part.get_payload(0)
        assert isinstance(inner, Message)
        name = _filename(part) or _header(inner, "subject") or "mail"
        yield _safe(name if name.lower().endswith(".eml") else f"{name}.eml"), inner.as_bytes()
    elif part.is_multipart():
        for inner in _parts(part, depth):
            yield from _attached(inner, depth + 1)
    elif _is_attached(part) and not _is_inline_picture(part):
        content = part.get_payload(decode=True)
        name = _filename(part) or f"attachment{mimetypes.guess_extension(kind) or ''}"
        if isinstance(content, bytes) and content and not kind.startswith(_NO_DOCUMENTS):
            yield _safe(name), content


def _parts(part: Message, depth: int) -> list[Message]:
    inner = part.get_payload() if part.is_multipart() else None
    return [item for item in inner if isinstance(item, Message)] if isinstance(inner, list) and depth < _MAX_DEPTH else []


def _is_inline_picture(part: Message) -> bool:
    inline = part.get_content_disposition() != "attachment" or "content-id" in part
    return part.get_content_maintype() == "image" and inline


def _filename(part: Message) -> str:
    plain = Message()  # with headers whose raw bytes, which the parser gives up on, are characters
    for key, value in part.raw_items():
        if key.lower() in ("content-type", "content-disposition"):
            plain[key] = _without_raw_bytes(str(value), _charset(part))
    name = plain.get_filename()
    return _decoded_header(name) if name else ""


def _safe(name: str) -> str:
    """A name without folders: other programs' attachments bring theirs."""
    return re.sub(r"[\x00-\x1f]", "", re.split(r"[/\\]", name.strip())[-1]) or "attachment"


def _body(part: Message, removed: Counter[str], depth: int, subject: str) -> list[str]:
    """The text of a part and those inside it."""
    kind = part.get_content_type()
    if kind == "message/rfc822":
        return []
    if part.is_multipart():
        bodies = [(inner, _body(inner, removed, depth + 1, subject)) for inner in _parts(part, depth)]
        return _best(bodies) if kind == "multipart/alternative" else [text for _, texts in bodies for text in texts]
    if _is_attached(part):
        return []
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes) or not content.strip():
        return []
    text = characters(decode_declared(content, _charset(part)), removed)
    if kind == "text/html":
        found = markup.from_html(text, find_article=False)
        removed.update(found.removed)
        return [found.text]
    return [_plain(text, part, removed, subject)]


def _best(bodies: list[tuple[Message, list[str]]]) -> list[str]:
    """Of versions of the same text the plain one, unless it is trivially short beside another."""
    full = [(inner.get_content_type() != "text/plain", texts) for inner, texts in bodies if any(text.strip() for text in texts)]
    longest = max((_length(texts) for _, texts in full), default=0)
    fit = [item for item in full if _length(item[1]) >= _TRIVIAL_SHARE * longest]
    return min(fit, key=lambda item: item[0])[1] if fit else []


def _length(texts: list[str]) -> int:
    return sum(len(re.findall(r"\w", text)) for text in texts)


def _plain(text: str, part: Message, removed: Counter[str], subject: str) -> str:
    """Plain text without a signature behind "-- " and without what is quoted line by line, if other text is left."""
    tail = max(0, len(text) - _MAX_SIGNATURE)
    tail = text.rfind("\n", 0, tail) + 1
    without, signatures = _SIGNATURE.subn("", text[tail:])
    without = text[:tail] + without
    without, quotations = _QUOTED.subn("", without)
    older = None if _FORWARDED.match(subject) else _OLDER.search(without)
    if older:
        without, quotations = without[: older.start()], quotations + 1
    if not re.search(r"\w", without):
        without, signatures, quotations = text, 0, 0
    if str(part.get_param("format", "")).lower() == "flowed":  # a quotation's lines are still marked one by one above
        without = "\n".join(_unflowed(without.split("\n")))
    removed.update(signatures=signatures, quotations=quotations)
    return without


def _unflowed(lines: list[str]) -> Iterator[str]:
    """RFC 3676: a line that ends in a space goes on in the next one."""
    going_on: list[str] = []
    for line in lines:
        going_on.append(line.rstrip(" ") if line != "-- " else line)
        if not line.endswith(" ") or line == "-- ":
            yield join_text(going_on) if len(going_on) > 1 else line
            going_on = []
    if going_on:
        yield join_text(going_on)


def _charset(part: Message) -> str:
    try:
        return part.get_content_charset() or ""
    except (LookupError, ValueError, TypeError):
        return ""


def _header(message: Message, name: str) -> str:
    """A header in one line, decoded; empty if there is none."""
    found = (str(value) for key, value in message.raw_items() if key.lower() == name)
    return _decoded_header(_without_raw_bytes(next(found, ""), _charset(message)))


def _without_raw_bytes(value: str, charset: str) -> str:
    """A header with bytes that should have been encoded, and are as a rule in the encoding of the body."""
    return _text(value.encode("ascii", "surrogateescape"), charset or "gb18030") if _RAW.search(value) else value


def _decoded_header(value: str) -> str:
    """RFC 2047's encoded words as text, also such as part a character between two."""
    try:
        words = email.header.decode_header(value)
    except (email.errors.HeaderParseError, ValueError):
        words = [(value, None)]
    text = "".join(
        word if isinstance(word, str) else _text(word, charset) if charset else word.decode("latin-1")
        for word, charset in words
    )
    return " ".join(text.split())


def _text(data: bytes, charset: str) -> str:
    try:
        return decode_declared(data, charset)
    except ReadingError:
        return data.decode("utf-8", "replace")


def _date(value: str) -> str:
    try:
        return email.utils.parsedate_to_datetime(value).strftime("%Y-%m-%d")
    except (ValueError, TypeError, IndexError):
        return ""
