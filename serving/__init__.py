"""A document becomes an analysis. Imports neither training/ nor torch nor transformers."""

import os
import sys

# Nothing is reported to anyone. OpenVINO sends each import to Google Analytics if it finds this package ...
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
# ... and BentoML each start, unless it finds this very word.
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
# Spans that go nowhere would take a fifth of the time of a short request; whoever exports them says false.
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
