"""What `test_zero_gpu.py` asks of a ZeroGPU Space; prints what it saw as one JSON object."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import gradio as gr

from rlkv.dialogue import Control, SideSpec, converse
from rlkv.errors import UserError
from rlkv.generation import Sampling
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.streaming import StreamingWindow
from rlkv.tasks import Problem, get_task
from tests.rlkv.dialogue.stage import PROMPT, TINY_HALF, asked, small
from ui import zero_gpu

spaces: Any = import_module("spaces")
HISTORY = asked(PROMPT)
SIDES = [SideSpec(None, HISTORY), SideSpec(TINY_HALF, HISTORY)]
LONG = 4000


def main(folder: Path) -> dict[str, Any]:
    first, late = str(folder / "first"), str(folder / "late")
    tokenizer = load_model("tracer")[1]
    for place, epsilon in ((first, 1e-6), (late, 1e-3)):
        model = small(max_position_embeddings=LONG + 200, rms_norm_eps=epsilon)
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
    one = load_model(first, dtype="float32")
    seen: dict[str, Any] = {"same": same(first, one)}
    answered(first, one)
    seen["processes"] = [os.getpid(), *(pid for _, pid, _ in spaces.calls[:2])]
    two = load_model(late, dtype="bfloat16")
    seen["late"] = {**same(late, two), "process": spaces.calls[-1][1]}
    seen["stopped"] = stopped(first, one)
    seen["closed"] = closed(first, one)
    seen["after stop"] = ids(answered(first, one)) == ids(here(one))
    seen["refused"] = refused(first, one)
    seen["seconds"] = [zero_gpu._seconds("m", tuple(SIDES), Sampling(n)) for n in (10, 10_000)]
    seen["measured"] = measured(first, one)
    before = len(spaces.calls)
    list(zero_gpu.converse("tracer", load_model("tracer"), [SideSpec(None, HISTORY)], Sampling(3)))
    seen["embedded"] = spaces.calls[before:]
    seen["fixed"] = [words(zero_gpu.require_changeable, ref) for ref in (first, "tracer")]
    seen["placement"] = [zero_gpu.placement(ref) for ref in ("tracer", first)]
    seen["quota"] = quota(first, one)
    return seen


def answered(ref: str, loaded: Any) -> list[Any]:
    return list(zero_gpu.converse(ref, loaded, SIDES, Sampling(24)))


def here(loaded: tuple[Any, Any]) -> list[Any]:
    return list(converse(loaded[0], loaded[1], SIDES, Sampling(24)))


def ids(frames: list[Any]) -> list[Any]:
    """All that does not depend on the clock, of every frame."""
    return [
        [
            [side.text, [(t.id, t.text, round(t.probability, 5)) for t in side.tokens],
             side.kv_bytes, side.kv_bytes_formula, side.length, side.stop_reason]
            for side in frame.sides
        ]
        for frame in frames
    ]  # fmt: skip


def same(ref: str, loaded: Any) -> dict[str, Any]:
    there = answered(ref, loaded)
    counts = [frame.sides[0].n_tokens for frame in there]
    assert all(b - a <= 1 for a, b in pairwise(counts))
    return {
        "there": ids(there),
        "here": ids(here(loaded)),
        "frames": len(there),
        "differences": [one and one.probabilities is not None for one in there[-1].differences],
        "left": list(zero_gpu._inherited),
    }


def stopped(ref: str, loaded: Any) -> dict[str, Any]:
    control = Control()
    for frame in zero_gpu.converse(ref, loaded, SIDES, Sampling(LONG), control):
        if frame.sides[0].n_tokens == 5:
            control.stop()
    sides = frame.sides
    return {"reasons": [side.stop_reason for side in sides], "tokens": sides[0].n_tokens}


def closed(ref: str, loaded: Any) -> float:
    """Seconds that closing takes: the other process has to have stopped by then."""
    with closing(zero_gpu.converse(ref, loaded, SIDES, Sampling(LONG))) as frames:
        next(frames)
        began = time.monotonic()
    return time.monotonic() - began


def refused(ref: str, loaded: Any) -> str:
    wrong = SideSpec(HeadMask.random(16, 2, sparsity=0.5, seed=0), HISTORY)
    return words(lambda: list(zero_gpu.converse(ref, loaded, [wrong], Sampling(3))))


def quota(ref: str, loaded: Any) -> str:
    def none_left(*_: Any) -> Any:
        raise gr.Error("You have exceeded your quota")

    vars(zero_gpu)["_measured"] = none_left
    return words(zero_gpu.measure, ref, loaded, "rlkv.explore.one_head:read_question")


def words(function: Any, *args: Any) -> str:
    try:
        function(*args)
    except UserError as error:
        return str(error)
    return ""


def measured(ref: str, loaded: Any) -> dict[str, Any]:
    window = StreamingWindow(2, 6)
    task = get_task("tracing")
    masks = TINY_HALF, TINY_HALF.toggle(0, 0)
    read = loaded[1](PROMPT)["input_ids"]
    cases: dict[str, Any] = {
        "table": ("rlkv.explore.table:head_table", ("tracing", window), {"n": 2}),
        "looks": ("rlkv.explore.one_head:one_head", (read, (0, 1), window, None), {}),
        "question": ("rlkv.explore.one_head:read_question", (PROMPT, 256, 8), {}),
        "effect": (
            "rlkv.explore.effect:effect", (PROMPT, masks, 8),
            {"problem": Problem(PROMPT, "1"), "task": task},
        ),
    }  # fmt: skip
    return {name: compared(ref, loaded, *case) for name, case in cases.items()}


def compared(ref: str, loaded: Any, what: str, args: Any, options: Any) -> dict[str, Any]:
    there = zero_gpu.measure(ref, loaded, what, *args, **options)
    module, _, name = what.partition(":")
    own = getattr(sys.modules[module], name)(*loaded, *args, **options)
    return {"there": repr(there), "here": repr(own), "process": spaces.calls[-1][1]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
