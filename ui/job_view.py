"""One job as the train page shows it: everything is read from the database, nothing is kept."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr
import numpy as np

from storage.jobs import Job
from ui import catalogue
from ui.components.about_job import about_job
from ui.components.curves import SERIES, training_curves
from ui.components.headmap import head_map_value
from ui.components.job_list import state_badge
from ui.components.stepper import stepper
from ui.components.tiles import Tile, tiles
from ui.engine import MODEL
from ui.studio import Studio
from ui.units import NOT_YET, duration, percent

GAP = (
    "Largest difference, in nats, between the log-probabilities that drawing and loss gave the "
    "same token in this step. About 1e-05 in float32, tenths in bfloat16; far more would mean "
    "that answers are drawn under other gates than those that are trained."
)


def nothing(studio: Studio) -> list[Any]:
    """The live parts before any job."""
    if studio.settings.may_train:
        words = "Press Start: the picture forms here, step by step, and every number is kept."
    else:
        words = "Where training is on, the picture forms here, step by step."
    empty = f'<div class="blank">{words}</div>'
    hidden = gr.update(visible=False)
    return [
        empty, _gates_picture(None, MODEL), training_curves({}, 150), "",
        hidden, hidden, hidden, hidden, "",
    ]  # fmt: skip


def live(studio: Studio, job: Job) -> list[Any]:
    """Head, picture, curves, log, what Stop, Resume, Clone and About show, for one job."""
    series = studio.metrics.series(job.id, [*SERIES, "logprob_gap", "step_seconds"], max_points=400)
    snapshot = studio.metrics.latest_snapshot(job.id)
    shape = studio.metrics.snapshot_shape(job.id)
    table = None
    if snapshot is not None and shape is not None:
        table = np.frombuffer(snapshot[1], "<f4").reshape(shape)
    can_stop = not job.is_terminal and not job.stop_requested
    can_resume = job.state in ("cancelled", "failed")
    return [
        _top(studio, job, series),
        _gates_picture(table, "" if job.is_terminal else job.model),
        training_curves(series, job.total_steps),
        _log(studio, job),
        gr.update(visible=can_stop),
        gr.update(visible=can_resume),
        gr.update(visible=True),
        gr.update(visible=True),
        about_job(job),
    ]


def _gates_picture(table: Any, model: str) -> Any:
    """The gates as they are. Before the first step they are all at 1, where every training begins;
    nothing is drawn of a job that ended before it (`model` "")."""
    if table is None:
        example = catalogue.shipped()
        if example is None or example.model != model:
            return None
        table = np.ones(example.shape, dtype=np.float32)
    return head_map_value(table, file="gates")


def _top(studio: Studio, job: Job, series: dict[str, list[tuple[int, float]]]) -> str:
    def newest(name: str, form: str = ".2f") -> str:
        points = series.get(name)
        return f"{points[-1][1]:{form}}" if points else NOT_YET

    sparsity = series.get("sparsity")
    items = [
        Tile("Step", str(job.step), f"of {job.total_steps}", key="step"),
        Tile("Reward", newest("reward"), "trained"),
        Tile("Reward", newest("reward_hard"), "deployed", key="reward-hard"),
        Tile("Mean gate", newest("gate_mean")),
        Tile("Sparsity", percent(sparsity[-1][1]) if sparsity else NOT_YET),
        Tile("Log-prob gap", newest("logprob_gap", ".1e"), title=GAP),
        Tile("Time left", _time_left(job, series)),
    ]
    new = job.message and job.message.lower() != job.phase  # the steps below say that already
    message = f'<span class="say">{escape(job.message)}</span>' if new else ""
    return (
        f'<div class="live-top" data-job="{escape(job.id)}" data-state="{escape(job.state)}">'
        f"<h2>{escape(job.title)}</h2>{state_badge(job.state)}{_links(studio, job)}{message}</div>"
        f"{stepper(job)}{tiles(items)}"
    )


def _links(studio: Studio, job: Job) -> str:
    rows = catalogue.learned_by(studio, job.id)
    if not rows:
        return ""
    key = escape(rows[0].id)
    return (
        f'<a class="go" href="./heads?mask={key}" id="open-heads">Open in Heads</a>'
        f'<a class="go" href="./chat?mask={key}">Chat with it</a>'
    )


def _time_left(job: Job, series: dict[str, list[tuple[int, float]]]) -> str:
    """From the last ten steps' own times."""
    times = [seconds for _, seconds in series.get("step_seconds", [])[-10:]]
    if job.is_terminal or not times:
        return NOT_YET
    return duration((job.total_steps - job.step) * sum(times) / len(times))


def _log(studio: Studio, job: Job) -> str:
    events = studio.metrics.events(job.id, limit=60)
    lines = "".join(
        f'<p class="{escape(event.level)}">{escape(event.text)}</p>' for event in reversed(events)
    )
    return f'<div class="log" tabindex="0" aria-label="Log of the job">{lines}</div>'
