"""What happens on the chat page: each event, checked, to the next screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any

import gradio as gr
from gradio.events import Dependency

from storage.errors import StorageError
from ui import catalogue
from ui.chat.answering import answer
from ui.chat.asking import Asking
from ui.chat.fields import wire_fields
from ui.chat.layout import Page, lay_out
from ui.chat.library import data_of, drawn, own_model, wire_library
from ui.chat.line import before
from ui.chat.running import Run, Runs
from ui.chat.screen import Desk, Screen
from ui.engine import MODEL
from ui.events import MODEL_RUNS, PRIVATE, QUIET
from ui.heavy import heavy
from ui.messages import told
from ui.studio import Studio


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    runs, desk = Runs(partial(before, app)), Desk(studio)

    def pull(asked: Any) -> dict[str, Any]:
        return runs.pull(asked)

    def columns(asked: Any) -> dict[str, Any]:
        return desk.columns(asked)

    page = lay_out(studio, desk.show(Screen()), [pull, columns])
    wanted = gr.State("")
    opening = _wire_opening(desk, page, app, wanted)
    wire_fields(studio, runs, page, wanted, opening)
    wire_library(desk, runs, page)
    _wire_answers(desk, runs, page)
    _wire_ends(desk, runs, page, app)


def _wire_opening(desk: Desk, p: Page, app: gr.Blocks, wanted: gr.State) -> Dependency:
    """What a page is opened with; returns what chooses the model and its mask."""

    def opened(request: gr.Request) -> list[Any]:
        desk.studio.engine.load_in_background()
        # What the page came with is left alone: somebody may have pressed something by now.
        untouched = [gr.skip(), gr.skip(), *drawn(desk, Screen())[2:]]
        asked = request.query_params.get("chat")
        if asked:
            with suppress(StorageError):
                return drawn(desk, Screen(chat=desk.kept.chat(asked).id))
        return untouched

    def chosen(request: gr.Request) -> tuple[str, Any]:
        """The mask that the address names, and the model of its conversation or of that mask."""
        spoken = own_model(desk, Screen(chat=request.query_params.get("chat")))
        key = str(request.query_params.get("mask") or "")
        entry = catalogue.find(desk.studio, key) if key else None
        if entry is None or entry.key != key:
            return "", spoken or MODEL
        own = entry.mask.model
        learned_on = own if own and desk.studio.settings.allows(own) else MODEL
        return key, spoken or learned_on

    app.load(opened, None, p.drawn(), **QUIET)
    return app.load(chosen, None, [wanted, p.picker.model], **QUIET)


def _wire_answers(desk: Desk, runs: Runs, p: Page) -> None:
    running = gr.State(None)
    starts = _wire_starts(desk, runs, p, running)

    def ask(token: str, screen: Screen | None) -> Iterator[list[Any]]:
        idle = [gr.skip()] * (len(p.drawn()) + 2)
        run = runs.get(str(token))
        if run is None or run.state == "done":  # stopped while it waited
            yield idle
            return
        with told():
            for _ in _answered(desk, run):
                yield idle
        yield [*drawn(desk, _kept_on(screen or Screen(), run)), *_buttons(busy=False)]

    def failed(token: str, screen: Screen | None) -> list[Any]:
        run = runs.get(str(token))
        if run is not None and run.state == "waiting":  # it was not let into the line
            run.finish("stopped")
        question = run.plan.question if run else gr.skip()
        return [*_drawn_anyway(desk, screen), *_buttons(busy=False), question]

    shown = [*p.drawn(), *p.buttons()]
    for start in starts:
        # The browser drops an event that is still under way if it comes a second time: a question
        # that was stopped in line would block the next one until the line gets to it.
        asked = start.success(
            ask, [running, p.screen], shown, trigger_mode="multiple", **MODEL_RUNS
        )
        asked.failure(failed, [running, p.screen], [*shown, p.question], **QUIET)


def _wire_ends(desk: Desk, runs: Runs, p: Page, app: gr.Blocks) -> None:
    """Stop, and a tab that is closed."""

    def left(request: gr.Request) -> None:
        """The tab was closed: nobody reads its answer any more, or asks on."""
        run = runs.of(request.session_hash or "")
        if run is not None:
            run.left = True  # what it keeps at its end is forgotten there
        runs.stop(request.session_hash or "")
        if _keeper.cache_info().currsize:
            _keeper().forget(request.session_hash or "")

    def halt(request: gr.Request, screen: Screen | None, text: Any) -> list[Any]:
        return _halted(desk, runs, request.session_hash or "", screen, text)

    shown = [*p.drawn(), *p.buttons(), p.question]
    p.stop.click(halt, [p.screen, p.question], shown, **QUIET)
    app.unload(left)


def _halted(desk: Desk, runs: Runs, session: str, screen: Screen | None, text: Any) -> list[Any]:
    """Stop. What is being written ends by itself; what still waits in line is taken off the page
    at once, and its question given back where it would be lost."""
    run = runs.of(session)
    waits = run is not None and run.state == "waiting"
    runs.stop(session)
    if run is None or not waits:
        return [gr.skip()] * 7
    is_new = run.plan.asked is None and not str(text or "").strip()
    question = run.plan.question if is_new else gr.skip()
    screen = replace(screen or Screen(), run=None)
    return [*_drawn_anyway(desk, screen), *_buttons(busy=False), question]


def _drawn_anyway(desk: Desk, screen: Screen | None) -> list[Any]:
    """The screen; an empty one where its conversation was deleted, as by another tab."""
    try:
        return drawn(desk, screen or Screen())
    except StorageError:
        return drawn(desk, Screen())


def _wire_starts(desk: Desk, runs: Runs, p: Page, running: gr.State) -> list[Any]:
    """The events that put an answer into line."""
    asking = Asking(desk, runs)

    def send(request: gr.Request, text: str, screen: Screen | None, *fields: Any) -> list[Any]:
        screen = _caught_up(runs, screen)
        with told():
            run = asking.send(screen, text, fields, request.session_hash or "")
        return [*_begun(desk, screen, run), ""]

    def instead(make: Callable[..., Run]) -> Callable[..., list[Any]]:
        def begin(
            request: gr.Request, event: gr.EventData, screen: Screen | None, *fields: Any
        ) -> list[Any]:
            screen = _caught_up(runs, screen)
            with told():
                run = make(screen, data_of(event), fields, request.session_hash or "")
            return _begun(desk, screen, run)

        return begin

    settings, begun = p.settings(), [running, p.screen, p.talk, *p.buttons()]
    sent = gr.on(
        [p.send.click, p.question.submit], send, [p.question, p.screen, *settings],
        [*begun, p.question], **PRIVATE,
    )  # fmt: skip
    edited = p.talk.edit(instead(asking.edit), [p.screen, *settings], begun, **PRIVATE)
    repeated = p.talk.again(instead(asking.again), [p.screen, *settings], begun, **PRIVATE)
    return [sent, edited, repeated]


@cache
def _keeper() -> Any:
    """Caches of the conversations, kept between turns; one for the app."""
    return heavy("rlkv.dialogue").Keeper()


def _answered(desk: Desk, run: Run) -> Iterator[None]:
    """Writes an answer and keeps it, also where the page is closed on the way."""
    words = ""
    kept = desk.kept  # now: whoever closes the page does not ask for anything any more
    try:
        yield from answer(desk.studio, run, _keeper())
    except Exception as error:
        words = str(error)
        raise
    finally:
        try:
            if run.has_written:
                run.kept = kept.keep(run)
        finally:
            run.finish(words)
            if run.left:
                _keeper().forget(run.session)


def _begun(desk: Desk, screen: Screen, run: Run) -> list[Any]:
    screen = replace(screen, run=run.token)
    return [run.token, screen, desk.show(screen, run), *_buttons(busy=True)]


def _caught_up(runs: Runs, screen: Screen | None) -> Screen:
    """The screen with the conversation of its last answer, of which the page may not know yet."""
    screen = screen or Screen()
    run = runs.get(screen.run) if screen.run and screen.chat is None else None
    return _kept_on(screen, run) if run is not None else screen


def _kept_on(screen: Screen, run: Run) -> Screen:
    """The screen with the conversation that the answer was kept in."""
    if run.kept is None:
        return screen
    return replace(screen, chat=run.kept, recording=None)


def _buttons(*, busy: bool) -> list[Any]:
    return [gr.update(interactive=not busy), gr.update(interactive=busy)]
