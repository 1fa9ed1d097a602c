"""Stop while a question waits in line, and what is not done while an answer is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from tests.ui.chat.stage import QUESTION, plan, said
from tests.ui.handlers import built, handler
from ui.chat import page
from ui.chat.layout import lay_out
from ui.chat.library import drawn, wire_library
from ui.chat.page import _drawn_anyway, _halted
from ui.chat.running import Runs
from ui.chat.screen import Desk, Screen
from ui.engine import MODEL
from ui.studio import Settings, Studio


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    studio = Studio.open(Settings(data_dir=tmp_path))
    yield Desk(studio)
    studio.db.close()


@pytest.mark.parametrize(
    ("typed", "asked", "back"),
    [("", None, QUESTION), ("the next", None, gr.skip()), ("", 7, gr.skip())],
)
def test_what_waits_is_stopped_at_once_and_given_back(
    desk: Desk, typed: str, asked: int | None, back: object
) -> None:
    runs = Runs()
    run = runs.begin("tab", said(None), plan(asked=asked))
    assert run is not None
    *shown, send, stop, question = _halted(desk, runs, "tab", Screen(run=run.token), typed)
    assert run.state == "done"
    assert shown == drawn(desk, Screen())
    assert (send["interactive"], stop["interactive"], question) == (True, False, back)


def test_what_is_being_written_ends_by_itself(desk: Desk) -> None:
    runs = Runs()
    run = runs.begin("tab", said(None), plan())
    assert run is not None
    run.begin()
    assert _halted(desk, runs, "tab", Screen(run=run.token), "") == [gr.skip()] * 7
    assert run.control.stopping
    assert run.state == "running"
    assert _halted(desk, runs, "other", None, "") == [gr.skip()] * 7


def test_a_conversation_deleted_elsewhere_leaves_an_empty_screen(desk: Desk) -> None:
    assert _drawn_anyway(desk, Screen(chat="0" * 16)) == drawn(desk, Screen())


def test_nothing_is_imported_while_an_answer_is_written(desk: Desk, tmp_path: Path) -> None:
    runs = Runs()
    shown = desk.show(Screen())
    app = built(lambda _: wire_library(desk, runs, lay_out(desk.studio, shown, [])))
    run = runs.begin("tab", said(None), plan())
    assert run is not None
    brought, file = handler(app, "ui.chat.library.brought"), tmp_path / "chat.json"
    file.write_text("{")
    request = SimpleNamespace(session_hash="tab")
    with pytest.raises(gr.Error, match="being written here"):
        brought(request, str(file), None)
    run.finish()
    with pytest.raises(gr.Error, match="no JSON"):
        brought(request, str(file), None)


def test_the_fields_are_filled_when_the_page_opens_not_once_its_model_has_loaded(
    desk: Desk,
) -> None:
    app = built(lambda app: page.build(desk.studio, app))
    chosen, offered = (
        handler(app, f"ui.chat.{name}") for name in ("page.chosen", "fields.offered")
    )
    opening = next(key for key, one in app.fns.items() if one.fn is chosen)
    assert any(one.fn is offered and one.trigger_after == opening for one in app.fns.values())
    first, *fields = offered(MODEL, "", 256, None)
    assert first == (MODEL, (4, 8))
    assert len([one for one in fields if one != gr.skip()]) > 10
    # What was set in the meantime stays.
    assert offered(MODEL, "", 256, first) == [gr.skip()] * (1 + len(fields))
