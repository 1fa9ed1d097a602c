"""A rank whose right answers end well on rank 0 in the first half, on rank 1 in the second.

`python -m rlkv.training.launcher 2 tests.processes.rank_endings FOLDER` leaves `rank-N.json`: what
each answer of the step earned, as that rank sees it.
"""

import json
import sys
from pathlib import Path

import pytest

from rlkv.training import ranks
from rlkv.training.config import make_config
from rlkv.training.run import train
from tests.rlkv.endings import end_as
from tests.rlkv.short_training import SMALL, Log

CONFIG = make_config({**SMALL, "steps": 1, "prompts_per_step": 4, "eval_problems": 0})
REASONS = [["end", "end", "length", "repetition"], ["repetition", "length", "end", "end"]]


def main(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        earned = end_as(REASONS[ranks.rank()], patch)
        ranks.join()
        train(CONFIG, folder / f"home-{ranks.rank()}", Log())
    (folder / f"rank-{ranks.rank()}.json").write_text(json.dumps(earned))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
