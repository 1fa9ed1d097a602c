"""Follows a training that runs as a Hugging Face Job, as if it ran here.

The log is read from its beginning each time; what was told before, also by a process that died
since, is known by its number and not told again.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv.errors import UserError
from rlkv.files import write_whole
from rlkv.hub.names import split_revision
from rlkv.masks import HeadMask
from rlkv.remote.hub_job import NOTE, HubJob, connect, submitted, told
from rlkv.remote.lines import Joiner, Message, gates_of, mask_of
from rlkv.training.config import TrainConfig
from rlkv.training.observer import STOPPED_IN, Observer

LAST_WORDS = 5
"""Lines of ordinary output that a failure is told with."""
LOOK_S = 0.5
"""How often the wish to stop is looked at."""
TOLD = "hf-job-told"


def train_on_hub(config: TrainConfig, folder: Path, observer: Observer) -> HeadMask:
    """Submits or finds the job of this folder, follows it to its end, returns its mask.

    Stopped, it cancels the job and returns a mask of the newest gates.

    Raises:
        UserError: if the Hub refuses, or the job fails there.
    """
    api = connect()
    job, new = submitted(config, folder, api)
    if new:
        # Which step it begins from it says itself: it may find a kept checkpoint.
        (folder / TOLD).unlink(missing_ok=True)
    observer.event(f"{'Submitted as' if new else 'Following'} Hugging Face Job {job.url}")
    follower = _Follower(config, folder, observer, str(api.token))
    stopped = follower.follow(job)
    (folder / NOTE).unlink()  # it has ended: a resume begins a new one,
    (folder / TOLD).unlink(missing_ok=True)  # whose messages are numbered from 1 again
    if stopped:
        return follower.newest()
    if follower.mask is not None:
        return follower.mask
    raise UserError(follower.failure(job))


class _Follower:
    """What is known of the job so far."""

    def __init__(self, config: TrainConfig, folder: Path, observer: Observer, token: str) -> None:
        self.config, self.observer = config, observer
        self.mask: HeadMask | None = None
        self._token = token
        self._told = folder / TOLD
        self._number = int(self._told.read_text()) if self._told.is_file() else 0
        self._failed = ""
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._step = 0
        self._gates: NDArray[np.float32] | None = None
        self._revision, self._notes = "", dict[str, Any]()

    def follow(self, job: HubJob) -> bool:
        """Until the job's end; True if it was stopped from here."""
        lines: queue.Queue[str | Exception | None] = queue.Queue()
        threading.Thread(target=_read, args=(job, lines), daemon=True).start()
        joiner = Joiner()
        while not self.observer.should_stop():
            try:
                line = lines.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if isinstance(line, Exception):
                raise UserError(
                    f"The Hub can't be heard any more ({type(line).__name__}). The job goes on "
                    "there: press Resume to follow it again."
                ) from line
            if line is None:
                if self.mask is None and not self._failed:
                    self._read_again(job)
                return False
            self._hear(joiner, line)
        job.cancel()
        return True

    def _read_again(self, job: HubJob) -> None:
        """The end of a log may arrive after the end of its job."""
        joiner = Joiner()
        with told(job.api):
            for line in job.lines(follow=False):
                self._hear(joiner, line)

    def _hear(self, joiner: Joiner, line: str) -> None:
        try:
            message = joiner.add(line)
        except ValueError:  # the log has lost a line of it: the next message is whole again
            return
        if message is not None:
            self._tell(message)
        elif line.strip() and not line.startswith("@rlkv"):
            self._words.append(line.strip().replace(self._token, "[token]"))

    def _tell(self, message: Message) -> None:
        kind, news = message["kind"], message["number"] > self._number
        if kind == "mask":
            self.mask = mask_of(message)
        elif kind == "model":
            self._revision, self._notes = message["revision"], message["notes"]
        elif kind == "failed":
            self._failed = str(message["text"]).replace(self._token, "[token]")
        elif kind == "step":
            self._step, self._gates = message["step"], gates_of(message)
            if news:
                self.observer.step(self._step, message["metrics"], self._gates)
        elif kind == "resumed" and news:
            self.observer.resumed(message["step"])
        elif kind == "phase" and news:
            self.observer.phase(message["name"], message["done"], message["total"])
        elif kind == "event" and news:
            self.observer.event(message["text"])
        if news:
            self._number = message["number"]
            write_whole(self._told, str(self._number))

    def newest(self) -> HeadMask:
        """The mask of the newest gates; of all heads, with 0 steps done, before the first."""
        gates = np.ones((1, 1), np.float32) if self._gates is None else self._gates
        sink, recent = self.config.window
        model, asked = split_revision(self.config.model)
        name = model.rstrip("/").rsplit("/", 1)[-1]
        left = "elimination" if self.config.elimination else "measuring"
        return HeadMask.from_scores(
            gates,
            sink=sink,
            recent=recent,
            model=model,
            revision=self._revision or asked or "",
            name=f"{name} {self.config.task} seed {self.config.seed} "
            f"({self._step} of {self.config.steps} steps)",
            info={
                "task": self.config.task,
                "seed": self.config.seed,
                "steps_done": self._step,
                "recipe": self.config.model_dump(),
                **({STOPPED_IN: left} if self._step == self.config.steps else {}),
                **self._notes,
            },
        )

    def failure(self, job: HubJob) -> str:
        """Why there is no mask, in one line."""
        if self._failed:
            return f"The Hugging Face Job failed: {self._failed}"
        parts = [f"The Hugging Face Job ended as {job.stage()} without a mask.", job.why()]
        if self._step:
            parts.append("Resume goes on from the last checkpoint that was kept.")
        if self._words:
            parts.append(f"Its last words: {' / '.join(self._words)}")
        return " ".join(part for part in parts if part)


def _read(job: HubJob, lines: queue.Queue[str | Exception | None]) -> None:
    try:
        for line in job.lines(follow=True):
            lines.put(line)
        lines.put(None)
    except Exception as error:  # told in the thread that follows
        lines.put(error)
