"""Labelled documents become a model folder."""

import serving  # noqa: F401  turns telemetry off
