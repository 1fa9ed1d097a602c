"""The part of the page that shows what compressing the head, or restoring it, does to an answer."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.tasks import Problem, Task, get_task
from rlkv.tasks.tracing import solve
from ui import zero_gpu
from ui.components.header import html, section
from ui.components.tiles import Tile, tiles
from ui.components.tokens import kl_tokens, tokens
from ui.glossary import term
from ui.head.here import Here
from ui.head.looking import default_problem
from ui.measured import task_of
from ui.studio import Studio

if TYPE_CHECKING:
    from rlkv.explore.effect import Answer, Effect

ALONE, IN_MASK = "All other heads keep everything", "All other heads as in this mask"
ANSWER = 256


@dataclass(frozen=True)
class Parts:
    """Components that events read and write."""

    question: gr.Textbox
    base: gr.Radio
    button: gr.Button
    result: gr.HTML
    tokens: gr.HTML

    def shown(self) -> list[Any]:
        """What a measurement fills."""
        return [self.result, self.tokens]


def build() -> Parts:
    """Lays the part out."""
    section(
        "What this head does to an answer",
        "The same question twice, with the head and without its "
        f"{term('far', 'far past', after='.')} Each token is coloured by how much the prediction "
        "there moves "
        f"{term('kl', 'KL', before='(', after=').')}",
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=280):
            question = gr.Textbox(
                show_label=False, label="Question", container=False,
                lines=2, max_lines=6, max_length=4000,
                placeholder="Write a question", elem_id="change-text",
            )  # fmt: skip
        with gr.Column(scale=4, min_width=240):
            base = gr.Radio(
                [IN_MASK, ALONE], value=IN_MASK, show_label=False, container=False,
                label="The other heads",
                elem_id="change-base",
            )  # fmt: skip
        button = gr.Button("Compare", variant="primary", scale=1, min_width=100, elem_id="change")
    result = html(elem_id="change-result")
    view = tokens(None, "change-tokens")
    return Parts(question, base, button, result, view)


def measure(studio: Studio, here: Here, question: str, base: str) -> list[Any]:
    """Fills the part.

    Raises:
        UserError: whatever keeps the model from answering.
    """
    masks = before_and_after(here, base)
    task, problem = _checked_by(here, question)
    room = min(ANSWER, task.max_new_tokens) if task else ANSWER
    with studio.lease(here.model) as loaded:
        found = zero_gpu.measure(
            here.model, loaded, "rlkv.explore.effect:effect",
            question.strip(), masks, room, problem=problem, task=task,
        )  # fmt: skip
    return [_result(here, base, found), _tokens(here, base, found)]


def before_and_after(here: Here, base: str) -> tuple[HeadMask, HeadMask]:
    """The two masks that are compared: the second differs in this head alone."""
    mask = here.mask
    if base == ALONE:
        mask = HeadMask.full(*mask.shape, sink=mask.sink, recent=mask.recent, model=mask.model)
    return mask, mask.toggle(*here.cell)


def _checked_by(here: Here, question: str) -> tuple[Task | None, Problem | None]:
    """Task and problem if the answer to the question is known, else None and None."""
    question = question.strip()
    try:
        task = get_task(task_of(here.mask))
        if task.name == "tracing":
            return task, Problem(question, solve(question)[1])
    except (UserError, OSError, ValueError):
        return None, None
    known = default_problem(here)
    return (task, known) if known and known.prompt.strip() == question else (None, None)


def _verb(here: Here, base: str) -> str:
    kept = base == ALONE or bool(here.mask.kept[here.cell])
    return "Compressing" if kept else "Restoring"


def _result(here: Here, base: str, found: Effect) -> str:
    """HTML of the verdict in words and figures."""
    change = found.first_change
    doing = f"{_verb(here, base)} head {here.head}"
    if change is None:
        words = f"{doing} leaves the answer as it is: all {len(found.steps)} tokens are the same."
    else:
        step = found.steps[change]
        words = (
            f"{doing} changes the answer at token {change + 1}: "
            f"<code>{_shown(step.piece)}</code> becomes <code>{_shown(step.after.piece)}</code>."
        )
    items = [
        Tile("Same tokens", str(len(found.steps) if change is None else change),
             f"of {len(found.steps)}", key="same"),
        Tile("Mean KL a token", f"{found.mean_kl:.3g}", "nats", key="kl"),
        Tile("Before", _verdict(found.before), key="before"),
        Tile("After", _verdict(found.after), key="after"),
    ]  # fmt: skip
    return f'<p class="say">{words}{_turned(found)}</p>{tiles(items)}{_other(found)}'


def _turned(found: Effect) -> str:
    """What happened to the verdict, where there is one."""
    was, now = found.before.right, found.after.right
    if was is None or now is None or was == now:
        return ""
    return " It was right and is now wrong." if was else " It was wrong and is now right."


def _verdict(answer: Answer) -> str:
    if answer.right is None:
        return "ended" if answer.ended else "cut off"
    return "right" if answer.right else "wrong"


def _other(found: Effect) -> str:
    """The second answer from the change on; all text escaped."""
    if found.first_change is None:
        return ""
    at = found.first_change
    same, rest = ("".join(found.after.pieces[part]) for part in (slice(at), slice(at, None)))
    return (
        '<p class="cap2">The answer after</p>'
        f'<p class="other-answer"><span>{escape(same)}</span><b>{escape(rest)}</b></p>'
    )


def _shown(piece: str) -> str:
    return escape(piece.strip() or "␣")


def _tokens(here: Here, base: str, found: Effect) -> dict[str, Any]:
    steps = found.steps
    names = ("before", "after")
    return kl_tokens(
        "The answer before, by how far the prediction moves",
        [step.piece for step in steps],
        [step.kl for step in steps],
        before=[(step.before.piece, step.before.probability) for step in steps],
        after=[(step.after.piece, step.after.probability) for step in steps],
        first_changed=found.first_change,
        names=names,
        name=f"effect-{here.head}",
    )
