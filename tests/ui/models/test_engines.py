"""Models loaded in the background, lent, cancelled, unloaded and making room for each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from rlkv import headroom, models
from rlkv.errors import UserError
from tests.ui.models.conftest import Gate, until
from ui import loading
from ui.engine import MODEL
from ui.engines import MOST, Engines

UNLOAD = """
import psutil, time
from ui.engines import Engines
engines, model = Engines(), "random:llama-135m"
engines.embedded.loaded()
def resident(): return psutil.Process().memory_info().rss
before = resident()
with engines.lease(model): held = resident()
engines.unload(model)
print(held - before, resident() - before, engines.status(model).state)
"""


def test_a_model_goes_through_its_states(folder: str, gate: Gate) -> None:
    engines = Engines()
    assert engines.status(folder).state == "absent"
    engines.load(folder)
    assert engines.status(folder).state in ("checking", "loading")
    assert gate.reached.wait(60)
    status = engines.status(folder)
    assert (status.state, status.words, status.share) == ("loading", "Reading the weights", None)
    assert status.seconds > 0
    gate.open.set()
    until(lambda: engines.status(folder).state == "ready")
    engines.unload(folder)
    assert engines.status(folder).state == "absent"


def test_a_lent_model_is_not_unloaded(folder: str) -> None:
    engines = Engines()
    with engines.lease(folder) as (model, tokenizer):
        assert engines.status(folder).leases == 1
        with pytest.raises(UserError, match="being used by one answer"):
            engines.unload(folder)
        assert model(**tokenizer("a=3", return_tensors="pt")).logits.isfinite().all()
    engines.unload(folder)
    assert engines.status(folder).state == "absent"
    with engines.lease(folder):  # and it is loaded again for whoever needs it
        assert engines.status(folder).state == "ready"


def test_a_lent_model_makes_no_room_for_others(folder: str) -> None:
    engines = Engines()
    with engines.lease(folder) as (model, _):
        for number in range(MOST + 2):
            engines.of(f"no/such{number}")
        assert engines.status(folder).state == "ready"
        assert engines.of(folder).loaded()[0] is model
    for number in range(MOST):
        engines.of(f"no/other{number}")  # these hold nothing, and go first
    assert engines.status(folder).state == "ready"


def test_whoever_asks_again_asks_last() -> None:
    engines = Engines()
    first, second = (engines.of(f"no/such{number}") for number in range(MOST))
    assert engines.of("no/such0") is first
    engines.of("no/other")
    assert engines.of("no/such0") is first
    assert engines.of("no/such1") is not second


def test_the_model_asked_for_longest_ago_makes_room(folder: str) -> None:
    engines = Engines()
    others = [f"{folder}-{number}" for number in range(MOST)]
    for other in others:
        shutil.copytree(folder, other)
    with engines.lease(folder) as (model, _):
        gone = weakref.ref(model)
    del model
    for other in others:
        with engines.lease(other):
            pass
    assert {engines.status(other).state for other in others} == {"ready"}
    assert engines.status(folder).state == "absent"
    assert gone() is None


@pytest.mark.slow
def test_unloading_gives_the_memory_back() -> None:
    """In a process of its own, whose memory nobody else moves."""
    command = [sys.executable, "-c", UNLOAD]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    held, left, state = done.stdout.split()
    assert state == "absent"
    assert int(held) > 500_000_000
    assert int(left) < 0.15 * int(held)


def test_cancelled_while_being_read_it_is_dropped_when_it_arrives(folder: str, gate: Gate) -> None:
    engines = Engines()
    engines.load(folder)
    waited: list[str] = []

    def wait() -> None:
        try:
            engines.of(folder).loaded(60)
        except UserError as error:
            waited.append(str(error))

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert gate.reached.wait(60)
    engines.cancel(folder)
    waiter.join(10)
    assert waited == [f"Loading '{folder}' was cancelled."]  # nobody waits for what is dropped
    status = engines.status(folder)
    assert status.state == "unloading"
    assert status.words == "Cancelled. Weights still being read are discarded when done"
    gate.open.set()
    until(lambda: engines.status(folder).state == "absent")
    assert gate.read == 1


def test_what_was_cancelled_and_wanted_again_is_read_once(folder: str, gate: Gate) -> None:
    engines = Engines()
    engines.load(folder)
    assert gate.reached.wait(60)
    engines.cancel(folder)
    engines.load(folder)
    assert engines.status(folder).state == "loading"
    gate.open.set()
    until(lambda: engines.status(folder).state == "ready")
    assert gate.read == 1


def test_what_is_wanted_again_while_its_loading_ends_is_loaded(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading has given up, and the thread that says so comes second to whoever asks."""
    engines = Engines()
    ends: list[str] = []

    class Late(loading.Loading):
        def run(self, *, check: bool) -> tuple[Any, Any]:
            if not ends:
                engines.cancel(folder)
            try:
                return super().run(check=check)
            except loading.Cancelled:
                ends.append("cancelled")
                engines.load(folder)
                raise

    monkeypatch.setattr("ui.engine.Loading", Late)
    engines.load(folder)
    until(lambda: engines.status(folder).state not in ("checking", "loading", "unloading"))
    assert ends == ["cancelled"]
    assert engines.status(folder).state == "ready"


def test_what_does_not_fit_is_refused_before_it_is_read(
    folder: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headroom, "free_bytes", lambda device: 10)
    engines = Engines()
    with pytest.raises(UserError, match=r"does not fit. Loading it takes .* is free"):
        engines.of(folder).loaded(60)
    assert not gate.reached.is_set()
    status = engines.status(folder)
    assert status.state == "failed"
    assert "does not fit" in status.words
    monkeypatch.undo()
    engines.load(folder)  # memory is free again
    until(lambda: engines.status(folder).state == "ready")


def test_a_wrong_reference_fails_with_its_reason() -> None:
    engines = Engines()
    engines.load("/nowhere/at/all")
    until(lambda: engines.status("/nowhere/at/all").state == "failed")
    assert "There is no model '/nowhere/at/all'" in engines.status("/nowhere/at/all").words


def test_the_embedded_model_stays() -> None:
    engines = Engines()
    with engines.lease(MODEL):
        pass
    for act in (engines.unload, engines.cancel):
        with pytest.raises(UserError, match="always there"):
            act(MODEL)
    assert engines.status(MODEL).state == "ready"


def test_the_embedded_model_is_loaded_again_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise UserError("No memory is left.")

    engines = Engines()
    monkeypatch.setattr(models, "load_model", full)
    with pytest.raises(UserError, match="No memory"), engines.lease(MODEL):
        pass
    assert engines.status(MODEL).state == "failed"
    monkeypatch.undo()
    with engines.lease(MODEL):
        assert engines.status(MODEL).leases == 1
    assert engines.embedded.ready


@pytest.mark.real_model
@pytest.mark.skipif("RLKV_REAL_MODEL" not in os.environ, reason="RLKV_REAL_MODEL names no file")
def test_a_gguf_file_is_loaded_and_unloaded() -> None:
    path = os.environ["RLKV_REAL_MODEL"]
    assert Path(path).suffix == ".gguf"
    engines = Engines()
    with engines.lease(path) as (model, _):
        assert model.num_parameters() == 134_515_008
        gone = weakref.ref(model)
    del model
    engines.unload(path)
    assert gone() is None
