"""One training on several processes: who is the main one, and what they must agree on.

Each process (a "rank") loads the model and works on its share of every batch; torch's DDP
averages the gradient of the gates, so that all ranks hold the same gates. Only rank 0 talks to
the outside: it gets the settings, the problems and the checkpoint, and hands them to the others,
which need neither the database nor a shared disk.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rlkv.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rlkv.training.config import TrainConfig

WAIT = timedelta(days=7)
"""How long ranks wait for each other: rank 0 samples the problems while the others wait."""
MAIN_FIRST_S = 10.0
"""How long a rank leaves it to rank 0 to end first: the first exit code is the launcher's."""
WATCH_S = 0.5
"""How often a rank looks whether its launcher lives."""

Value = TypeVar("Value")


class MainFailed(Exception):
    """Rank 0 could not go on; it has said why."""


def world() -> int:
    """Number of processes that train together, as the launcher said."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this process is the one that reports and saves."""
    return rank() == 0


def join() -> None:
    """Connects the ranks; gloo between CPUs, NCCL between GPUs, each rank on its own.

    To be called before the model is loaded: it makes `cuda` mean this rank's GPU.
    """
    if world() == 1:
        return
    import torch
    from accelerate import PartialState  # type: ignore[import-untyped]

    forced = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    state = PartialState(cpu=forced or not torch.cuda.is_available(), timeout=WAIT)
    # Else the group's threads may outlive the interpreter, which aborts a rank that did its work.
    atexit.register(state.destroy_process_group)


def device(wanted: str) -> str:
    """The device to train on: `wanted`, if the ranks are connected for it.

    Raises:
        UserError: if they are not.
    """
    if world() == 1:
        return wanted
    from accelerate import PartialState

    here = str(PartialState().device.type)
    if wanted not in ("auto", here):
        raise UserError(
            f"The processes were started for {here}, the job wants {wanted}: give accelerate "
            "launch --cpu or --multi_gpu to match, or choose the device auto."
        )
    return here


def from_main(make: Callable[[], Value]) -> Value:
    """What `make` returns on rank 0, on every rank; the others do not call it.

    Raises:
        MainFailed: on the other ranks, if it raised on rank 0.
    """
    if world() == 1:
        return make()
    if not is_main():
        (sent,) = _broadcast([None])
        if sent is None:
            raise MainFailed
        return cast("Value", sent[0])
    try:
        value = make()
    except BaseException:
        _broadcast([None])
        raise
    _broadcast([(value,)])
    return value


def any_rank(mine: bool) -> bool:
    """Whether any rank says yes; all ranks ask together, and get the same answer."""
    if world() == 1:
        return mine
    from accelerate.utils import gather_object  # type: ignore[import-untyped]

    return any(gather_object([mine]))


def wait_for_all() -> None:
    """Goes on when every rank is here."""
    any_rank(False)


def share_files(folder: Path) -> None:
    """Gives every rank the files of rank 0's `folder` that it does not have.

    On one machine nothing is to be done; on another node a checkpoint may be missing.
    """
    files = from_main(lambda: {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()})
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(data)


def lead(config: TrainConfig, folder: Path) -> None:
    """Rank 0's part of the beginning: connects, and tells the others what is to be done."""
    join()
    from_main(lambda: (config.model_dump(), str(folder)))


def follow() -> int:
    """All that a rank other than 0 does: the same training, told to nobody. Its exit code."""
    from rlkv.training.config import make_config
    from rlkv.training.out_of_memory import train_within_memory

    watch_launcher()
    observer = SilentObserver()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: observer.stop())
    join()
    try:
        values, folder = from_main(_sent_by_main)  # see `lead`
        train_within_memory(make_config(values), Path(folder), observer)
    except MainFailed:
        observer.wait(MAIN_FIRST_S)
        return 1
    return 0


def _sent_by_main() -> tuple[dict[str, Any], str]:
    raise AssertionError("only rank 0 makes the settings")


class SilentObserver:
    """Hears of steps and tells nobody; what happens is reported by rank 0."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def stop(self) -> None:
        """To be asked for the end by a signal; the ranks then end together."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Until asked for the end, but no longer."""
        self._stop.wait(seconds)

    def event(self, text: str) -> None:
        """Rank 0 says it."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Rank 0 says it."""

    def resumed(self, step: int) -> None:
        """Rank 0 says it."""

    def step(self, step: int, metrics: Mapping[str, float], gates: NDArray[np.float32]) -> None:
        """Rank 0 says it."""

    def should_stop(self) -> bool:
        return self._stop.is_set()


def watch_launcher() -> None:
    """Ends this process when its launcher is gone.

    torch's launcher gives every rank a session of its own, so a kill of the launcher's process
    group leaves them running, holding a job that somebody else takes up.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    if world() > 1:
        threading.Thread(target=watch, name="launcher-watch", daemon=True).start()


def _broadcast(values: list[Any]) -> list[Any]:
    from accelerate.utils import broadcast_object_list

    result: list[Any] = broadcast_object_list(values, from_process=0)
    return result
