"""Every limit and default of the service and the batch command, in one place.

Each can be set from the environment with the prefix ``WENZHAI_``, e.g. ``WENZHAI_MAX_DOCUMENTS=64``.
What belongs to a model (topics, thresholds, windows) stands in the model folder's ``config.json`` instead.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import Field, IPvAnyAddress, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.cores import cores

ROOT = Path(__file__).resolve().parent.parent

_STREAMS = 4  # forward passes at a time with which one Python process keeps up


class Settings(BaseSettings):
    """Limits are inclusive; sizes are in the unit that the name states."""

    model_config = SettingsConfigDict(env_prefix="WENZHAI_")

    model: Path = Field(ROOT / "models" / "default", description="model folder")
    # One interpreter keeps up with several forward passes at a time, whose requests then share one queue and one copy of the
    # weights; more cores than that need more processes, between which the kernel deals out connections unevenly.
    workers: int = Field(-(-cores() // _STREAMS), ge=1, description="processes of the HTTP service")
    streams: int = Field(
        default_factory=lambda data: max(cores() // data["workers"], 1), ge=1, description="forward passes at a time in a worker"
    )
    host: IPvAnyAddress = Field(IPv4Address("127.0.0.1"), description="address to listen on, if 'bentoml serve' is given none")
    threads: int = Field(1, ge=1, description="threads of one forward pass; more than one pays only where few ask")
    precision: str = Field("auto", pattern="^(auto|f32|bf16)$", description="arithmetic of the forward pass")

    # One request
    max_documents: int = Field(64, ge=1, description="documents in one request")
    max_document_chars: int = Field(200_000, ge=1, description="characters of one document, as received")
    max_request_bytes: int = Field(16 * 1024 * 1024, ge=1, description="bytes of one request body")
    max_head_bytes: int = Field(64 * 1024, ge=1024, description="bytes of a request's line and headers")
    max_json_depth: int = Field(16, ge=3, description="arrays and objects inside one another in a JSON body")
    max_json_values: int = Field(10_000, ge=1, description="values in a JSON body, in all its fields and lists together, but for "
                                 "Label Studio's tasks")
    receive_seconds: float = Field(30, gt=0, description="seconds in which a request's headers, and then its body, must arrive")
    send_seconds: float = Field(60, gt=0, description="seconds for which a caller may leave an answer unread")
    max_file_bytes: int = Field(16 * 1024 * 1024, ge=1, description="bytes of one document in an archive or upload")
    max_upload_bytes: int = Field(64 * 1024 * 1024, ge=1, description="bytes of the documents of one upload, once unpacked")
    convert_seconds: float = Field(30, gt=0, description="seconds that reading one PDF or DOCX may take")
    convert_memory_bytes: int = Field(2 * 1024**3, ge=256 * 1024**2, description="memory that reading one PDF or DOCX may take")
    max_id_chars: int = Field(256, ge=1)
    max_title_chars: int = Field(1_000, ge=1)

    # Load
    # The expected time; the slowest hundredth of those taken in takes up to twice that where every kind of request comes at once.
    max_slowdown: float = Field(2.25, ge=1, description="times as long as alone that a request may take beside others, else 429")
    burst_seconds: float = Field(0.5, ge=0, description="seconds of work that may wait beyond that, unless it lasts")
    max_held_bytes: int = Field(64 * 1024 * 1024, ge=1, description="bytes of request bodies at a time in a worker, else 429")
    request_timeout_seconds: int = Field(120, ge=1)
    retry_after_seconds: int = Field(1, ge=1, description="least value of Retry-After with 429 and 503")

    # Who may ask, and how often
    api_key: str = Field("", description="when set, /v1/ requests need 'Authorization: Bearer KEY'")
    api_keys: str = Field("", description="more keys, hashed: NAME=SHA256,NAME=SHA256 (see python -m serving.keys)")
    api_keys_file: Path | None = Field(None, description="more keys, hashed, in a file that is read again when it changes")
    max_requests_per_minute: int = Field(0, ge=0, description="of one key, or without keys of one address; 0: as many as wanted")
    cors_origins: str = Field("", description="origins whose pages may call the service, with commas between; * for all")
    log_format: str = Field("text", pattern="^(text|json)$", description="one line of text or one JSON object a message")

    # Corrections made on the page
    corrections: Path | None = Field(None, description="JSONL file to which corrections are appended; none: not stored")
    max_corrections_bytes: int = Field(1024**3, ge=1, description="size of that file from which nothing more is stored")
    max_marked_sentences: int = Field(200, ge=1, description="key sentences of one correction, and evidence of one topic")

    # One forward pass
    max_batch_tokens: int = Field(4_096, ge=512, description="padded tokens of one forward pass, in archives")
    # A pass of 256 tokens takes 25 ms and a fifth more a token than the largest, one of 1,024 takes 80 ms.
    pass_tokens: int = Field(1_024, ge=128, description="padded tokens of one forward pass, in the service")
    turn_tokens: int = Field(256, ge=128, description="the same, of the first stream while short requests come often")

    # Archives, and the batch command
    max_nested_bytes: int = Field(128 * 1024 * 1024, ge=1, description="bytes of an archive in an archive")
    max_depth: int = Field(3, ge=0, description="archives inside archives inside archives")
    max_unpack_ratio: int = Field(200, ge=1, description="unpacked bytes for each packed one; more is a bomb")
    unpack_free_bytes: int = Field(64 * 1024 * 1024, ge=0, description="bytes that may be unpacked whatever the ratio")
    part_documents: int = Field(128, ge=1, description="documents of one part of the results: what a stop can cost")

    # The report
    report_memory_bytes: int = Field(1024**3, ge=128 * 1024**2, description="memory of its tables; more goes to the disk")
    report_examples: int = Field(3, ge=1, description="most telling documents shown of each topic")
    report_near: int = Field(4, ge=1, description="documents shown of each topic whose score is nearest the threshold")
    report_band: float = Field(0.05, gt=0, lt=1, description="how far above its threshold a score counts as near it")
    report_rows: int = Field(50, ge=1, description="most rows of a table")
    report_topics: int = Field(40, ge=1, description="most topics in one plot")
    report_quote_chars: int = Field(400, ge=40, description="most characters shown of a quotation")

    # Answers
    evidence_sentences: int = Field(3, ge=1, description="most evidence sentences of one topic")
    max_summary_sentences: int = Field(20, ge=1, description="most a request may ask for")

    def limits(self) -> dict[str, int | float]:
        """What a caller must keep to, by name: /v1/info publishes it."""
        return {name: getattr(self, name) for name in _LIMITS}


_LIMITS = (
    "max_documents", "max_document_chars", "max_request_bytes", "max_head_bytes", "max_json_depth", "max_json_values",
    "receive_seconds", "send_seconds", "max_file_bytes", "max_upload_bytes", "max_unpack_ratio", "unpack_free_bytes",
    "convert_seconds", "convert_memory_bytes", "max_id_chars", "max_title_chars", "max_summary_sentences", "max_slowdown",
    "burst_seconds", "max_held_bytes", "request_timeout_seconds", "max_requests_per_minute", "max_corrections_bytes",
    "max_marked_sentences",
)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the environment once a process; a value that can't be used ends the process with a sentence."""
    try:
        return Settings()
    except ValidationError as error:
        found = [item for item in error.errors() if item["type"] != "default_factory_not_called"]  # it follows from another
        wrong = (f"WENZHAI_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in found)
        sys.stderr.write(f"wenzhai can't start: {'; '.join(wrong)}\n")
        raise SystemExit(2) from None
