"""Runs and conversations for the tests of the chat page, without a browser."""

from __future__ import annotations

from typing import Any

from rlkv.dialogue import Sampling, SideSpec, converse
from rlkv.masks import HeadMask
from rlkv.models import load_model
from ui.chat import sides
from ui.chat.plan import Plan, Settings
from ui.chat.running import Run

QUESTION = "f=3; j=4; b=9; h:f+j; d:h-b; a:d+d; e:a-f; c:e+h; ?c"
MOST = HeadMask.random(4, 8, sparsity=0.9, seed=1, sink=2, recent=6, model="tracer", name="few")
"""A mask under which the embedded model's answers go wrong."""


def plan(question: str = QUESTION, **fields: Any) -> Plan:
    """A question to both sides."""
    return Plan(Settings("tracer", (), (0, 1)), question, **fields)


def said(*masks: HeadMask | None) -> list[dict[str, Any]]:
    """What the page says of sides with these masks; none of them is one that a chooser offers."""
    return sides.facts(masks, range(len(masks)), [""] * len(masks))


def finished(order: tuple[int, ...] | None = None, **fields: Any) -> Run:
    """A run of the full cache and `MOST`, through to its end."""
    run = Run("tab", said(None, MOST), plan(**fields), order)
    specs = [SideSpec(mask, run.plan.history(slot)) for slot, mask in enumerate((None, MOST))]
    run.begin()
    for frame in converse(*load_model("tracer"), specs, Sampling(120), run.control):
        run.publish(frame)
    run.finish()
    return run
