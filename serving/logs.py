"""Logs say what failed and where, never what a document says: messages of exceptions may quote their input."""

from __future__ import annotations

import logging
import traceback
from contextvars import ContextVar
from typing import Any

from bentoml.exceptions import BentoMLException
from pydantic import ValidationError
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str] = ContextVar("request_id", default="")
# What the client did wrong is in its answer and in the access log; BentoML would add a traceback for each.
_EXPECTED = (BentoMLException, ValidationError)
_FILTERED = ("bentoml.serve", "bentoml._internal.server.http_app")
# Whose messages are known to hold nothing of a request. Of others (of a library that reads HTML, say) only the place is logged.
_TRUSTED = ("wenzhai", "bentoml", "uvicorn", "circus")
_TIME = "%Y-%m-%dT%H:%M:%S%z"
_RENAMED = {"asctime": "time", "levelname": "level", "name": "logger", "request": "request_id", "exc_info": "traceback"}
_BENTOML_FIELDS = ("levelname_bracketed", "component", "trace_msg", "request_id", "service_name", "expected", "taskName")


def install(log_format: str) -> None:
    """From now on, in this process, tracebacks are logged as the types of the exceptions and the lines they passed.

    Args:
        log_format: ``json`` for one object a message, ``text`` for one line with the request's id behind it.
    """
    make = logging.getLogRecordFactory()

    def record_without_messages(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if not record.name.startswith(_TRUSTED):
            record.msg, record.args = f"a message of {record.name}, {record.filename}:{record.lineno}", ()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.expected = record.name in _FILTERED and isinstance(error, _EXPECTED)
            # A description takes longer than to refuse a request, and those of what is expected are not logged.
            record.exc_info, record.exc_text = None, "" if record.expected else describe(error)
        record.request = request_id.get()
        return record

    logging.setLogRecordFactory(record_without_messages)
    logging.captureWarnings(True)
    for name in _FILTERED:
        logging.getLogger(name).addFilter(_unexpected)
    logging.getLogger("uvicorn.access").disabled = True  # it would log addresses, in which callers may have written anything
    formatter = _json() if log_format == "json" else _Text("%(asctime)s [%(levelname)s] [%(process)d] %(message)s", _TIME)
    for name in ("", "bentoml", "uvicorn.error", "circus"):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(formatter)


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


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        request = getattr(record, "request", "")
        return super().format(record) + (f" request={request}" if request else "")


class _Json(JsonFormatter):
    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in log_data.items() if value not in ("", None)}


def _json() -> logging.Formatter:
    return _Json(
        ["asctime", "levelname", "name", "process", "message", "request"], _TIME, rename_fields=_RENAMED,
        reserved_attrs=[*RESERVED_ATTRS, *_BENTOML_FIELDS], json_ensure_ascii=False,
    )
