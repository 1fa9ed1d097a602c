"""Starting one training on several processes of this machine.

torch's launcher takes this process's place (same pid, so whoever watches it keeps watching), and
starts the ranks. `accelerate launch` uses the same launcher and works as well; on CPUs it starts
a single process, whatever number it is given, which is put right here.
"""

from __future__ import annotations

import os
import sys

from rlkv.errors import UserError
from rlkv.training.config import TrainConfig

RESTARTS = "RLKV_RESTARTS"
"""Set where the launcher starts all ranks again that ended with `AGAIN`."""
AGAIN = 75
"""Exit code of a rank (EX_TEMPFAIL): memory ran out, and fewer rows may fit."""


def launched() -> bool:
    """Whether a launcher has started this process as one of several ranks."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def processes_wanted(config: TrainConfig) -> int:
    """Processes that this one still has to start; 1 if none, or if a launcher did it."""
    if launched() or config.where != "here":
        return 1
    return max(config.processes, _asked_of_accelerate())


def spread_out(config: TrainConfig, module: list[str], *, restarts: bool = False) -> None:
    """Where the job wants several processes, replaces this one by their launcher.

    Each rank runs `python -m MODULE...`. With `restarts` the module goes on from its last
    checkpoint when it is started again.

    Raises:
        UserError: where this machine can't do that.
    """
    processes = processes_wanted(config)
    if processes == 1:
        return
    on_cpu = check(config, processes)
    if on_cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    if restarts:
        os.environ[RESTARTS] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // processes, 1)))
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", "rlkv.training.launcher", str(processes), *module]
    os.execv(sys.executable, command)


def check(config: TrainConfig, processes: int) -> bool:
    """Whether `processes` ranks can work here; returns True if they would use the CPU.

    Raises:
        UserError: with what to change.
    """
    import torch

    from rlkv.models import device_named

    check_batch(config, processes)
    if sys.platform == "win32":
        raise UserError("Several processes are not supported on Windows: set Processes to 1.")
    device = device_named(config.device)
    if device.startswith("cuda") and processes > torch.cuda.device_count():
        raise UserError(
            f"Processes: {processes} GPUs are wanted, {torch.cuda.device_count()} are here: "
            "choose fewer processes, or the device cpu."
        )
    return not device.startswith("cuda")


def check_batch(config: TrainConfig, processes: int) -> None:
    """Raises UserError unless a step's rows can be shared out evenly."""
    rows = config.rows
    if rows % processes:
        raise UserError(
            f"{config.prompts_per_step} problems of {config.samples_per_prompt} samples are {rows} "
            f"rows, which {processes} processes can't share evenly: change one of the three."
        )


def _asked_of_accelerate() -> int:
    """The number given to `accelerate launch --cpu`, which it only acts on under MPI."""
    quiet = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if not quiet or "MASTER_PORT" not in os.environ:
        return 1
    import psutil
    from accelerate.commands.launch import (  # type: ignore[import-untyped]
        launch_command_parser,
    )

    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return 1
    at = next((i for i, word in enumerate(words) if "accelerate" in word), None)
    if at is None:
        return 1
    options, _ = launch_command_parser().parse_known_args(
        [word for word in words[at + 1 :] if word != "launch"]
    )
    return int(options.num_processes or 1)
