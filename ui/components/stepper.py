"""The phases of a training as a row of steps, the current one with its progress."""

from __future__ import annotations

from html import escape

from storage.jobs import Job
from storage.transitions import PHASES

_UNITS = {"sampling": "problems", "training": "steps"}


def stepper(job: Job) -> str:
    """HTML of the row; a job of before there were phases is placed by its steps."""
    current = _current(job)
    words = _words(job, current)
    items = []
    for place, name in enumerate(PHASES):
        kind, share = "next", 0.0
        if place < current:
            kind, share = "past", 1.0
        elif place == current:
            kind, share = "now", _share(job)
        step = ' aria-current="step"' if kind == "now" else ""
        items.append(
            f'<li class="{kind}" data-phase="{name}"{step}><span>{name.capitalize()}</span>'
            f'<i class="meter"><i style="width:{share:.1%}"></i></i></li>'
        )
    halted = " halted" if job.state in ("failed", "cancelled", "interrupted") else ""
    return f'<ol class="phases{halted}" aria-label="Phases">{"".join(items)}</ol>' + (
        f'<p class="phase-now" data-figure="phase">{escape(words)}</p>' if words else ""
    )


def _current(job: Job) -> int:
    """The place of the phase it is in; the number of phases when it is through."""
    if job.state == "done":
        return len(PHASES)
    if job.phase.lower() in PHASES:
        return PHASES.index(job.phase.lower())
    return 1 if job.step else -1


def _share(job: Job) -> float:
    if job.phase:
        return min(1.0, job.phase_done / job.phase_total) if job.phase_total else 0.0
    return min(1.0, job.step / job.total_steps) if job.total_steps else 0.0


def _words(job: Job, current: int) -> str:
    if not 0 <= current < len(PHASES):
        return ""
    name = PHASES[current]
    done, total = (job.phase_done, job.phase_total) if job.phase else (job.step, job.total_steps)
    if not total:
        return name.capitalize()
    return f"{name.capitalize()}: {done} of {total} {_UNITS.get(name, '')}".rstrip()
