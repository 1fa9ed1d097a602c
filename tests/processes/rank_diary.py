"""A rank that writes down what it saw: `python -m rlkv.training.launcher 2 tests.processes.rank_diary FOLDER`.

Leaves `rank-N.json` in the folder: the gates after each step, exactly, and the problems of each.
"""  # noqa: E501

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlkv.training import ranks
from rlkv.training.config import make_config
from rlkv.training.grpo import GateTrainer
from rlkv.training.run import train
from tests.rlkv.short_training import SMALL

# Hot enough that the samples of a problem differ: else their gradients cancel out.
SETTINGS = {"steps": 3, "prompts_per_step": 4, "problems": 16, "eval_problems": 0, "save_every": 1}
CONFIG = make_config({**SMALL, **SETTINGS, "temperature": 2.0, "hardening": False})


class Diary:
    """An observer; with `stop_at`, rank 1 alone wants to stop after that step."""

    def __init__(self, stop_at: int | None) -> None:
        self.gates: list[str] = []
        self.problems: list[list[str]] = []
        self.gradients: list[float] = []
        self.stop_at = stop_at
        self.reached = 0

    def event(self, text: str) -> None:
        print(text, flush=True)

    def phase(self, name: str, done: int, total: int) -> None:
        """Not written down."""

    def resumed(self, step: int) -> None:
        self.reached = step

    def step(self, step: int, metrics: Mapping[str, float], gates: np.ndarray) -> None:
        self.reached = step
        self.gates.append(gates.astype("<f4").tobytes().hex())
        self.gradients.append(metrics["grad_norm"])

    def should_stop(self) -> bool:
        return ranks.rank() == 1 and self.stop_at is not None and self.reached >= self.stop_at


def main(folder: Path, stop_at: int | None) -> None:
    diary = Diary(stop_at)
    plain = GateTrainer._calculate_rewards

    def seen(self: GateTrainer, inputs: Any, prompts: Any, *args: Any, **kwargs: Any) -> Any:
        diary.problems.append([prompt[-1]["content"] for prompt in prompts])
        # Rewards that differ and stay below the cut-off: all gradient is that of the answers.
        rewards: torch.Tensor = plain(self, inputs, prompts, *args, **kwargs)
        return (torch.arange(len(rewards), dtype=rewards.dtype) % 2)[:, None]

    GateTrainer._calculate_rewards = seen  # type: ignore[method-assign]
    ranks.join()
    mask = train(CONFIG, folder / f"home-{ranks.rank()}", diary)
    told = {"gates": diary.gates, "problems": diary.problems, "gradients": diary.gradients}
    told["steps"] = mask.info["steps_done"]
    (folder / f"rank-{ranks.rank()}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
