"""Conversations as things: opened, named, deleted, forked, voted on, taken away and brought in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency

from rlkv.errors import UserError
from storage.errors import StorageError
from ui.chat import exchange, recorded
from ui.chat.layout import Page
from ui.chat.running import Runs
from ui.chat.screen import Desk, Screen
from ui.chat.tally import left, tally
from ui.downloads import take
from ui.events import PRIVATE, QUIET
from ui.messages import notice, refusal, told

VOTES = ("a", "b", "tie", "skip")
MAX_TITLE = 120
Acted = Callable[[Screen, dict[str, Any]], Screen]


def drawn(desk: Desk, screen: Screen) -> list[Any]:
    """Everything that shows the open conversation and the others, as `Page.drawn` lists it."""
    beside = tally(desk.kept) + left(desk.studio)
    return [screen, desk.show(screen), desk.listed(screen), beside]


def own_model(desk: Desk, screen: Screen | None) -> str:
    """The model that the open conversation goes on with, the one that wrote it; "" for none."""
    with suppress(StorageError):  # deleted by another tab
        branch = desk.branch(screen) if screen is not None and screen.chat else ()
        model = str(branch[-1].answer.get("model") or "") if branch else ""
        if model and desk.studio.settings.allows(model):
            return model
    return ""


class Library:
    """What can be done with conversations: each makes a screen of a screen and what was sent.

    All raise UserError or StorageError, saying what can't be.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def opened(self, screen: Screen, data: dict[str, Any]) -> Screen:
        """Another conversation."""
        chat = self._desk.kept.chat(_chat(data)).id
        return replace(screen, chat=chat, recording=None, run=None)

    def renamed(self, screen: Screen, data: dict[str, Any]) -> Screen:
        """Another title."""
        title = " ".join(str(data.get("title") or "").split())[:MAX_TITLE]
        if not title:
            raise UserError("A conversation needs a name.")
        self._desk.kept.rename(_chat(data), title)
        return screen

    def removed(self, screen: Screen, data: dict[str, Any]) -> Screen:
        """Forgets one for good."""
        chat = _chat(data)
        self._desk.kept.delete(chat)
        return replace(screen, chat=None, run=None) if screen.chat == chat else screen

    def branched(self, screen: Screen, data: dict[str, Any]) -> Screen:
        """Another version of a question or an answer, with what followed it."""
        self._desk.kept.select(_open(screen), _message(data))
        return screen

    def forked(self, screen: Screen, data: dict[str, Any]) -> Screen:
        """A conversation of its own with everything up to a message."""
        new = self._desk.kept.fork(_open(screen), _message(data))
        notice("A new conversation with everything up to here; the other one stays.")
        return replace(screen, chat=new, run=None)

    def voted(self, screen: Screen, data: dict[str, Any]) -> Screen:
        """Decides a blind comparison."""
        choice = data.get("choice")
        if choice not in VOTES:
            raise UserError("There is no such vote.")
        self._desk.kept.vote(_open(screen), _message(data), str(choice))
        return screen

    def played(self, screen: Screen, data: dict[str, Any]) -> Screen:
        """A recording."""
        if data.get("key") not in recorded.names():
            raise UserError("That recording did not come with this copy.")
        return replace(screen, chat=None, recording=str(data["key"]), run=None)

    def new(self, screen: Screen, data: dict[str, Any]) -> Screen:
        """None: the next question begins one."""
        return replace(screen, chat=None, recording=None, run=None)


def wire_library(desk: Desk, runs: Runs, p: Page) -> None:
    """Wires what changes which conversation is open, and what can be done with one."""
    library = Library(desk)

    def acting(change: Acted) -> Callable[..., list[Any]]:
        def act(request: gr.Request, event: gr.EventData, screen: Screen | None) -> list[Any]:
            _require_quiet(runs, request)
            with told():
                return drawn(desk, change(screen or Screen(), data_of(event)))

        return act

    for event, change in (
        (p.kept.list.open, library.opened), (p.kept.list.rename, library.renamed),
        (p.kept.list.remove, library.removed), (p.talk.branch, library.branched),
        (p.talk.fork, library.forked), (p.talk.vote, library.voted),
        (p.talk.recorded, library.played), (p.kept.new.click, library.new),
    ):  # fmt: skip
        acted = event(acting(change), p.screen, p.drawn(), **PRIVATE)
        if change == library.opened:
            _wire_model(desk, acted, p)
    _wire_files(desk, runs, p)


def _wire_model(desk: Desk, opened: Dependency, p: Page) -> None:
    def follow(screen: Screen | None) -> Any:
        return own_model(desk, screen) or gr.skip()

    opened.success(follow, p.screen, p.picker.model, **QUIET)


def _require_quiet(runs: Runs, request: gr.Request) -> None:
    if runs.of(request.session_hash or "") is not None:
        raise refusal("An answer is being written here: stop it first.")


def _wire_files(desk: Desk, runs: Runs, p: Page) -> None:
    def written(kind: str) -> Callable[[Screen | None], str]:
        def write(screen: Screen | None) -> str:
            with told():
                return str(exchange.write(desk, screen or Screen(), kind))

        return write

    def brought(request: gr.Request, path: str, screen: Screen | None) -> list[Any]:
        _require_quiet(runs, request)
        with told():
            now, title = screen or Screen(), ""
            new, title = exchange.read(desk, Path(path))
        notice(f"Imported “{title}”.")
        return drawn(desk, replace(now, chat=new, recording=None))

    for kind, button in (("md", p.kept.markdown), ("json", p.kept.json)):
        button.click(written(kind), p.screen, p.kept.file, **PRIVATE).success(
            None, None, None, **take("chat-file")
        )
    came = p.kept.load.upload(brought, [p.kept.load, p.screen], p.drawn(), **PRIVATE)
    _wire_model(desk, came, p)


def data_of(event: gr.EventData) -> dict[str, Any]:
    """What an event brought; any client can send anything."""
    data = getattr(event, "_data", None)
    return data if isinstance(data, dict) else {}


def _open(screen: Screen) -> str:
    if screen.chat is None:
        raise UserError("Open one of your own conversations first.")
    return screen.chat


def _chat(data: dict[str, Any]) -> str:
    return str(data.get("chat") or "")


def _message(data: dict[str, Any]) -> int:
    message = data.get("message")
    if isinstance(message, bool) or not isinstance(message, int):
        raise UserError("That message is not there any more: open the conversation again.")
    return message
