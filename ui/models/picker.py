"""Picking a model on any page: which, what it needs, whether it fits, load, cancel and unload.

What is shown comes from the server, so several tabs see the same. The page asks twice a second
while something is under way, and now and then otherwise; nothing is sent where nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.known_models import KNOWN, known
from ui.components.header import html
from ui.engine import MODEL, Status
from ui.events import FOLLOWS, PRIVATE, QUIET
from ui.messages import told
from ui.models.allowed import require_allowed
from ui.models.facts import facts_of, forget
from ui.models.view import BUSY, facts_line, hindrances, refused_line, state_line
from ui.studio import Studio

SOON_S = 0.5
LATER_S = 4.0
"""How often the page asks: while something is under way, and otherwise."""
LONGEST_REF = 500
LOOKS: dict[str, Any] = {"concurrency_limit": None, **PRIVATE}
"""Queued, though short: Gradio tells a state's listeners of changes by queued events only."""
SHARED = "Visitors of a public copy share its models: they make room by themselves."
ABOUT = "By name, a Hub id (org/name or org/name@revision), a folder, or a .gguf file"


@dataclass(frozen=True)
class Picker:
    """The components. `model` holds the reference that is chosen, `loaded` the same once that
    model is ready, else None."""

    model: gr.Dropdown
    loaded: gr.State
    facts: gr.HTML
    state: gr.HTML
    load: gr.Button
    cancel: gr.Button
    unload: gr.Button

    def wire(
        self,
        on_ready: Callable[..., Any],
        inputs: Sequence[Any] = (),
        outputs: Any = None,
    ) -> Any:
        """Calls `on_ready(ref, *inputs)` whenever the chosen model gets ready, and with None when
        it no longer is."""
        return self.loaded.change(on_ready, [self.loaded, *inputs], outputs, **QUIET)


def model_picker(studio: Studio, prefix: str, *, loads: bool = True) -> Picker:
    """Adds the picker to the open layout and wires it.

    Args:
        prefix: of the elements' ids: `{prefix}-model`, `{prefix}-load` and so on.
        loads: whether models are loaded from here; else only their facts are shown.
    """
    anything = not studio.settings.shared
    with gr.Column(elem_classes="model-picker"):
        with gr.Row(equal_height=False, elem_classes="model-choice"):
            model = gr.Dropdown(
                choices(studio), value=MODEL, label="Model", allow_custom_value=anything,
                interactive=True, min_width=220, scale=5, info=ABOUT if anything else None,
                elem_id=f"{prefix}-model",
            )  # fmt: skip
            load, cancel, unload = (
                gr.Button(
                    name, visible=False, scale=0, min_width=96, elem_id=f"{prefix}-{name.lower()}"
                )
                for name in ("Load", "Cancel", "Unload")
            )
        facts = html(facts_line(known(MODEL), None, Status()), elem_id=f"{prefix}-facts")
        state = html(elem_id=f"{prefix}-state")
    picker = Picker(model, gr.State(None), facts, state, load, cancel, unload)
    if loads:
        _wire(studio, picker)
    else:
        _wire_facts(studio, model, facts)
    return picker


def model_facts(studio: Studio, model: gr.components.Component, prefix: str) -> gr.HTML:
    """Adds a line of facts, `{prefix}-facts`, that follows a form's field; whether there is memory
    for what the form starts is not its business."""
    facts = html(facts_line(known(MODEL), None, Status(), room=False), elem_id=f"{prefix}-facts")
    _wire_facts(studio, model, facts, room=False)
    return facts


def choices(studio: Studio) -> list[tuple[str, str]]:
    """(label, reference) of the models offered by name."""
    offered = [
        (f"{model.name} · {model.about}", model.ref)
        for model in KNOWN
        if studio.settings.allows(model.ref)
    ]
    named = {ref for _, ref in offered}
    return offered + [(ref, ref) for ref in studio.settings.models if ref not in named]


# --- events -------------------------------------------------------------------------------


def _wire(studio: Studio, p: Picker) -> None:
    clock, seen = gr.Timer(SOON_S), gr.State(None)
    buttons = [p.load, p.cancel, p.unload]
    shown = [seen, p.facts, p.state, *buttons, p.loaded, clock]

    def look(ref: Any, seen: str | None) -> list[Any]:
        return _painted(studio, _reference(ref), seen)

    p.model.change(lambda ref: look(ref, None), p.model, shown, **LOOKS)
    clock.tick(look, [p.model, seen], shown, **LOOKS)
    engines = studio.engines
    for button, act in zip(buttons, (engines.load, engines.cancel, engines.unload), strict=True):
        button.click(partial(_acted, studio, act), p.model, shown, **PRIVATE)


def _wire_facts(studio: Studio, model: Any, facts: gr.HTML, *, room: bool = True) -> None:
    clock = gr.Timer(LATER_S)  # reading facts imports torch, which would hold up a page just opened

    def look(ref: Any) -> list[Any]:
        line, pending, _ = _facts(studio, _reference(ref), Status(), room)
        return [line, gr.Timer(SOON_S, active=pending)]

    gr.on([model.change, clock.tick], look, model, [facts, clock], **FOLLOWS)


def _acted(studio: Studio, act: Callable[[str], None], ref: Any) -> list[Any]:
    """Loads, cancels or unloads, and shows what came of it.

    Raises:
        gr.Error: where that is refused.
    """
    model = _reference(ref)
    with told():
        require_allowed(studio, model)
        if studio.settings.shared and act != studio.engines.load:
            raise UserError(SHARED)
        act(model)
    forget(model)
    return _painted(studio, model, None)


# --- what is on screen --------------------------------------------------------------------


def _reference(value: Any) -> str:
    """What was chosen or typed; the embedded model where that is nothing."""
    return (value.strip()[:LONGEST_REF] if isinstance(value, str) else "") or MODEL


def _painted(studio: Studio, model: str, seen: str | None) -> list[Any]:
    """What was seen, facts, state, three buttons, the loaded model and the clock; skips alone
    where `seen` is still true."""
    status = studio.engines.status(model)
    line, pending, hindered = _facts(studio, model, status)
    now = repr([model, line, replace(status, seconds=round(status.seconds))])
    if seen == now:
        return [gr.skip()] * 8
    busy = pending or status.state in BUSY
    fixed = model == MODEL or studio.settings.shared
    return [
        now,
        line,
        state_line(status),
        gr.update(visible=status.state in ("absent", "failed"), interactive=not hindered),
        gr.update(visible=status.state in ("checking", "loading") and not fixed),
        gr.update(visible=status.state == "ready" and not fixed),
        model if status.state == "ready" else None,
        gr.Timer(SOON_S if busy else LATER_S, active=True),
    ]


def _facts(studio: Studio, model: str, status: Status, room: bool = True) -> tuple[str, bool, bool]:
    """The line of facts, whether there will be more of it, whether loading is out of question."""
    try:
        require_allowed(studio, model)
        facts = facts_of(model)
    except UserError as error:
        return refused_line(str(error)), False, True
    hindered = facts is not None and bool(hindrances(facts))
    line = facts_line(known(model), facts, status, room=room)
    return line, facts is None, hindered
