"""A page that is closed while its answer is written: that is still kept for its visitor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.ui.chat.stage import QUESTION, said
from tests.ui.test_quotas import COOKIE, asked_by
from ui.chat.page import _answered
from ui.chat.plan import Plan
from ui.chat.plan import Settings as Fields
from ui.chat.running import Run
from ui.chat.screen import Desk
from ui.chat.sides import FULL, Choice
from ui.studio import Settings, Studio


def test_what_was_written_is_kept_for_whoever_asked(tmp_path: Path) -> None:
    studio = Studio.open(Settings(shared=True, data_dir=tmp_path))
    fields = Fields("tracer", (Choice(FULL, 0, 0, 1),), (0,), slowly=True)
    run = Run("tab", said(None), Plan(fields, QUESTION))
    with asked_by(COOKIE):
        writing: Any = _answered(Desk(studio), run)
        while not run.has_written:
            next(writing)
    writing.close()
    assert run.state == "done"
    with asked_by(COOKIE, host="203.0.113.9"):
        assert [chat.id for chat in studio.chats.list()] == [run.kept]
        assert studio.model_time.left("203.0.113.5") < studio.model_time.most
    with asked_by("d" * 40):
        assert list(studio.chats.list()) == []
    studio.db.close()
