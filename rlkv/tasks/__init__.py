"""Tasks: problems in, verifier out. One file each, imported when asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

from rlkv.errors import UserError
from rlkv.tasks.base import Problem, Split, Task

_LISTED = {
    # name: (what it is, module:class of this folder; for several of one kind module:table)
    "tracing": ("Variable tracing with the embedded model", "tracing:Tracing"),
    "recall": ("One value out of many pairs given far above", "recall:Recall"),
    "repeat": ("A list of words, all of them and in order", "repeat:Repeat"),
    "gym:chain_sum": ("Sums and differences of several numbers", "gym:Gym"),
    "gym:basic_arithmetic": ("Arithmetic with brackets", "gym:Gym"),
    "gym:gsm_symbolic": ("Word problems in the manner of GSM8K, generated", "gym:Gym"),
    "gym:simple_equations": ("Linear equations in one unknown", "gym:Gym"),
    "gym:leg_counting": ("How many legs so many animals have", "gym:Gym"),
    "gym:base_conversion": ("Numbers from one base to another", "gym:Gym"),
    "gym:letter_counting": ("How often a letter occurs", "gym:Gym"),
    "gym:number_sorting": ("Sorting numbers", "gym:Gym"),
    "gym:word_sorting": ("Sorting words", "gym:Gym"),
    "gym:word_sequence_reversal": ("A list of words backwards", "gym:Gym"),
    "gym:spell_backward": ("A word backwards", "gym:Gym"),
    "gym:family_relationships": ("Who is whose aunt", "gym:Gym"),
    "gym:knights_knaves": ("Who always lies and who never does", "gym:Gym"),
    "gym:syllogism": ("Whether a conclusion follows", "gym:Gym"),
    "gym:needle_haystack": ("One fact among many", "gym:Gym"),
    "gym:path_star": ("The one way through a star of paths", "gym:Gym"),
    "gsm8k": ("Word problems of primary school", "maths_sets:SETS"),
    "math-500": ("500 problems of mathematics competitions, for measuring only", "maths_sets:SETS"),
    "aime24": ("30 problems of AIME 2024, for measuring only", "maths_sets:SETS"),
    "deepscaler": ("40,000 problems of mathematics competitions", "maths_sets:SETS"),
    "mbpp": (
        "Small Python programs, run in a sandbox (off unless RLKV_ALLOW_CODE=1)",
        "mbpp:Mbpp",
    ),
}

TASKS = {name: what for name, (what, _) in _LISTED.items()}
"""Names and one line each. Besides these there are `gym:NAME` for the other data sets of
reasoning-gym, and `jsonl:PATH` for a file of one's own."""


def get_task(name: str) -> Task:
    """The task called `name`; nothing is downloaded or generated yet.

    Raises:
        UserError: if there is none; names those there are.
    """
    kind, _, rest = name.partition(":")
    if kind == "gym" and rest:
        from rlkv.tasks.gym import Gym, require_dataset

        require_dataset(rest)
        return Gym(rest)
    if kind == "jsonl" and rest:
        from rlkv.tasks.jsonl import JsonLines

        return JsonLines(Path(rest).expanduser())
    require_known(name)
    return _build(name)


def require_known(name: str) -> None:
    """Looks at the name alone: not into a `jsonl:` file, nor for a data set of reasoning-gym.

    Raises:
        UserError: if there is no task called so; names those there are.
    """
    kind, _, rest = name.partition(":")
    if name not in TASKS and not (kind in ("gym", "jsonl") and rest):
        close = difflib.get_close_matches(name, TASKS, n=2)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise UserError(
            f"There is no task '{name}'.{hint} Choose one of: {', '.join(TASKS)}, gym:NAME for "
            "another data set of reasoning-gym, or jsonl:PATH for a file of your own."
        )


def reads_a_file(name: str) -> bool:
    """Whether a task's problems lie in a file of the machine that it is solved on."""
    return name.startswith("jsonl:")


def _build(name: str) -> Task:
    module, _, attribute = _LISTED[name][1].partition(":")
    home = getattr(import_module(f"rlkv.tasks.{module}"), attribute)
    return cast(Task, home[name] if isinstance(home, Mapping) else home())


__all__ = ["TASKS", "Problem", "Split", "Task", "get_task", "reads_a_file"]
