"""The embedded model, loaded once, and texts of its own task."""

from typing import Any

import pytest

from rlkv.explore.probes import ProbeText, probe_texts
from rlkv.models import load_model
from rlkv.streaming import StreamingWindow

WINDOW = StreamingWindow(4, 16)
"""Of the embedded model's masks."""


@pytest.fixture(scope="session")
def tracer() -> tuple[Any, Any]:
    return load_model("tracer")


@pytest.fixture(scope="session")
def texts(tracer: tuple[Any, Any]) -> list[ProbeText]:
    return probe_texts(*tracer, "tracing", 4, seed=0)
