"""Small real models, and loading that waits to be told to go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlkv import models
from rlkv.models import load_model
from tests.rlkv.families import tiny


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder with a small model and a tokenizer."""
    path = tmp_path / "small"
    tiny("llama").save_pretrained(path)
    load_model("tracer")[1].save_pretrained(path)
    return str(path)


class Gate:
    """Holds up every reading of weights until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.read = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()

    def held(*arguments: Any, **options: Any) -> Any:
        gate.reached.set()
        assert gate.open.wait(60)
        gate.read += 1
        return load_model(*arguments, **options)

    monkeypatch.setattr(models, "load_model", held)
    yield gate
    gate.open.set()


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Waits for something to come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
