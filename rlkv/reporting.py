"""Numbers of a training, sent on to a tracker the user has installed and chosen.

trackio keeps them on this machine; wandb sends them to its service, under the login that
`wandb login` left. Nothing is imported, and nothing leaves the machine, unless it was chosen. A
tracker in trouble never ends a training: it is told once, and left alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Mapping
from typing import Any

from rlkv.errors import UserError

PROJECT = "rlkv"

log = logging.getLogger(__name__)


def require_tracker(name: str) -> None:
    """Raises UserError if a tracker is chosen that is not installed."""
    if name != "none" and importlib.util.find_spec(name) is None:
        raise UserError(
            f"{name} is not installed: run `pip install {name}`, or choose 'none' under Report to."
        )


class Report:
    """One job at one tracker. `sent` is the last step that an earlier attempt has sent."""

    def __init__(self, job_id: str, title: str, params: Mapping[str, Any], sent: int) -> None:
        self._tracker = str(params.get("report_to", "none"))
        self._job_id, self._title, self._params = job_id, title, dict(params)
        self._sent = sent
        self._run: Any = None

    def log(self, step: int, metrics: Mapping[str, float]) -> str:
        """Sends one step; returns a line for the log where that failed, else ""."""
        if self._tracker == "none" or step <= self._sent:
            return ""
        try:
            if self._run is None:
                self._run = self._open()
            # trackio's runs and wandb's take the same call.
            self._run.log(dict(metrics), step=step)
        except Exception as error:
            log.exception("reporting failed")
            tracker, self._tracker = self._tracker, "none"
            return f"Nothing more is reported to {tracker}: {type(error).__name__}: {error}"
        self._sent = step
        return ""

    def close(self) -> None:
        """Lets the tracker finish what it still holds."""
        if self._run is not None:
            try:
                self._run.finish()
            except Exception:
                log.exception("the tracker did not finish")

    def _open(self) -> Any:
        tracker = importlib.import_module(self._tracker)
        common = {"project": PROJECT, "config": self._params, "resume": "allow"}
        if self._tracker == "wandb":
            return tracker.init(id=self._job_id, name=self._title, **common)
        # trackio finds a run again by its name, so that carries the id.
        return tracker.init(
            name=f"{self._title} · {self._job_id}",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
            **common,
        )
