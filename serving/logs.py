"""Logs say what failed and where, never what a document says: messages of exceptions may quote their input."""

from __future__ import annotations

import logging
import traceback

from bentoml.exceptions import BentoMLException
from pydantic import ValidationError

# What the client did wrong is in its answer and in the access log; BentoML would add a traceback for each.
_EXPECTED = (BentoMLException, ValidationError)
_BENTOML_ERRORS = "bentoml._internal.server.http_app"


def install() -> None:
    """From now on, in this process, tracebacks are logged as the types of the exceptions and the lines they passed."""
    make = logging.getLogRecordFactory()

    def record_without_messages(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make(*args, **kwargs)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.expected = isinstance(error, _EXPECTED)
            record.exc_info, record.exc_text = None, describe(error)
        return record

    logging.setLogRecordFactory(record_without_messages)
    logging.getLogger("bentoml.serve").addFilter(_unexpected)
    logging.getLogger(_BENTOML_ERRORS).addFilter(_unexpected)


def describe(error: BaseException) -> str:
    """A traceback without messages, causes first."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = "".join(traceback.format_tb(current.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{type(current).__module__}.{type(current).__qualname__}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n\n".join(reversed(parts))


def _unexpected(record: logging.LogRecord) -> bool:
    return not getattr(record, "expected", False)
