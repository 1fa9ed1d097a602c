"""One answer from the plan to its last token: borrows the model, feeds the run, ends it.

Runs in Gradio's queue, one at a time with everything else that runs a model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.tasks import Problem, get_task
from rlkv.tasks.tracing import solve
from ui import zero_gpu
from ui.chat import sides
from ui.chat.plan import Plan
from ui.chat.reach import beyond
from ui.chat.running import Run
from ui.engine import MODEL
from ui.heavy import heavy
from ui.models.allowed import require_allowed
from ui.studio import Studio

if TYPE_CHECKING:
    from rlkv.dialogue import Keeper, SideState

NO_ROOM = (
    "This machine's memory is nearly full, so the question could not be read: unload a model that "
    "nobody uses, close other programs, or ask something shorter."
)
BREATH_SECONDS = 0.2
"""How often the queue gets to see whether the page is still there."""
READING_SECONDS = 0.04
"""Pause between tokens at reading pace. The embedded model writes hundreds a second, too fast to
see; the speeds on screen are the model's own, without the pauses."""


def answer(studio: Studio, run: Run, keeper: Keeper | None) -> Iterator[None]:
    """Writes the answer into `run`; yields now and then, so that it can be cancelled.

    Raises:
        UserError: if the model can't be loaded, can't read the question or has no memory to read
            it in, or a mask does not fit.
    """
    plan = run.plan
    model_ref = plan.settings.model
    require_allowed(studio, model_ref)
    run.state = "loading"
    studio.engines.load(model_ref)
    yield from _until_loaded(studio, run, model_ref)
    with studio.lease(model_ref) as (model, tokenizer):
        shape = heavy("rlkv.layout").layout_of(model).shape
        masks = [sides.mask_of(studio, one, shape, model_ref) for one in plan.settings.sides]
        keys = [one.key for one in plan.settings.sides]
        for i, facts in enumerate(sides.facts(masks, plan.settings.slots, keys)):
            run.rename(i, facts)
        run.begin()
        context = beyond(studio, model_ref)
        yield from _written(run, plan, model, tokenizer, masks, keeper, context)
    if run.frame is not None:
        if not run.has_written and all(s.stop_reason == "memory" for s in run.frame.sides):
            raise UserError(NO_ROOM)  # there is no answer that could say it
        run.extra = [verdict(plan, state) for state in run.frame.sides]


def _until_loaded(studio: Studio, run: Run, model: str) -> Iterator[None]:
    engine = studio.engines.of(model)
    while not run.control.stopping and engine.wait(BREATH_SECONDS) is None:
        yield
    if run.control.stopping:
        raise UserError("Stopped before the model was loaded.")


def _written(
    run: Run,
    plan: Plan,
    model: Any,
    tokenizer: Any,
    masks: list[HeadMask | None],
    keeper: Keeper | None,
    context: int | None,
) -> Iterator[None]:
    dialogue = heavy("rlkv.dialogue")
    specs = [
        dialogue.SideSpec(mask, plan.history(slot))
        for mask, slot in zip(masks, plan.settings.slots, strict=True)
    ]
    sampling = dialogue.Sampling(**plan.settings.sampling())
    frames = zero_gpu.converse(
        plan.settings.model, (model, tokenizer), specs, sampling, run.control,
        keeper=keeper, conversation=run.session, context=context,
    )  # fmt: skip
    breath = time.monotonic()
    with closing(frames):
        for frame in frames:
            run.publish(frame)
            run.make_changes()
            if plan.settings.slowly and any(s.n_tokens for s in frame.sides):
                run.rest(READING_SECONDS)
            if time.monotonic() - breath >= BREATH_SECONDS:
                breath = time.monotonic()
                yield


def verdict(plan: Plan, state: SideState) -> dict[str, Any]:
    """Whether an answer to a puzzle of the embedded model is right, where that can be known."""
    if plan.settings.model != MODEL or state.stop_reason in (None, "stopped", "memory"):
        return {}
    try:
        problem = Problem(plan.question, solve(plan.question)[1])
    except ValueError:
        return {}
    return {"right": get_task("tracing").reward(state.text, problem) == 1.0}
