"""What Prometheus is told at /metrics. No label holds anything that a caller wrote."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TENTHS = tuple(i / 10 for i in range(1, 10))

REQUESTS = Counter("wenzhai_requests", "Requests by endpoint and status", ["endpoint", "status"])
REQUEST_SECONDS = Histogram("wenzhai_request_seconds", "Time to the answer's first byte", ["endpoint"], buckets=_SECONDS)
REQUEST_BYTES = Counter("wenzhai_request_bytes", "Bytes of request bodies")
CHARACTERS = Counter("wenzhai_characters", "Characters of the cleaned texts of documents that were scored")
DOCUMENT_ERRORS = Counter("wenzhai_document_errors", "Documents that were not analysed, by what kept them from it", ["kind"])
QUEUE = Gauge("wenzhai_queue_documents", "Documents waiting or being scored", multiprocess_mode="livesum")
QUEUE_SECONDS = Histogram("wenzhai_queue_seconds", "Time from a request's reading to its first forward pass", buckets=_SECONDS)
MODEL_SECONDS = Histogram("wenzhai_model_seconds", "Time of one forward pass", buckets=_SECONDS)
BATCH_DOCUMENTS = Histogram("wenzhai_batch_documents", "Documents in one forward pass", buckets=(1, 2, 4, 8, 16, 32, 64))
SCORED = Counter("wenzhai_documents", "Documents by outcome", ["outcome"])
TOKENS = Counter("wenzhai_tokens", "Tokens that the model read: of documents, and of padding", ["kind"])
PREDICTIONS = Counter("wenzhai_topic_predictions", "Documents whose score reached the topic's own threshold", ["topic"])
SCORES = Histogram("wenzhai_topic_score", "Scores of all documents, by topic", ["topic"], buckets=_TENTHS)
MODEL = Gauge("wenzhai_model_workers", "Workers that serve this model", ["model"], multiprocess_mode="livesum")
SWITCHES = Counter("wenzhai_model_switches", "New model folders: loaded, or refused", ["outcome"])


def render() -> bytes:
    """The metrics of all workers together, in Prometheus' text format."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return generate_latest()
    for file in Path(folder).glob("gauge_live*.db"):  # a worker that was killed could not take its own away
        pid = int(file.stem.rsplit("_", 1)[1])
        try:
            os.kill(pid, 0)  # asks whether it lives, and does nothing to it
        except (ProcessLookupError, PermissionError):  # another user's process has the number now
            mark_process_dead(pid, folder)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    return generate_latest(registry)
