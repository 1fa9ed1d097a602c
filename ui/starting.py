"""Starting a job: who may, and on what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

from rlkv.errors import UserError
from rlkv.tasks import reads_a_file, require_known
from storage.jobs import Jobs
from ui import space, visitor
from ui.models.allowed import require_allowed
from ui.studio import Studio


def switched_off(what: str) -> str:
    """HTML for the pages that start jobs, where nobody may: what a visitor can do instead."""
    here = space.here()
    copy = f', or <a href="{escape(here.duplicate)}">duplicate this Space</a>' if here else ""
    return (
        f'<p class="warn">{escape(what)} is switched off on this public copy. Run the app on your '
        f"own machine{copy}; its owner switches it on with <code>RLKV_ALLOW_TRAINING=1</code>.</p>"
    )


@contextmanager
def starting(studio: Studio, model: str, task: str, **elsewhere: str) -> Iterator[Jobs]:
    """The jobs to put a new one into. Used by each action: a hidden button stops no request.

    Args:
        model: what the job runs.
        task: what it is run on.
        elsewhere: by name, settings that send something from this machine to another.

    Raises:
        UserError: where that is not allowed, there is no such task, or the visitor has started as
            many as they may.
    """
    studio.require_training()
    require_allowed(studio, model)
    require_known(task)
    if not studio.settings.shared:
        yield studio.jobs
        return
    if reads_a_file(task):
        raise UserError(
            "A file of problems lies on the machine that runs this public copy, and is not for its "
            "visitors: choose one of the tasks in the list, or run the app on your own machine."
        )
    for name, value in elsewhere.items():
        if value not in ("here", "none"):
            raise UserError(
                f"{name} can't be '{value}' here: on this public copy jobs run on its own machine "
                "and report to nobody."
            )
    with studio.jobs_started.one(visitor.address()):
        yield studio.jobs
