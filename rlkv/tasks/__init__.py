"""Tasks: problems in, verifier out. One file each, imported when asked for."""

from __future__ import annotations

import difflib
from pathlib import Path

from rlkv.errors import UserError
from rlkv.tasks.base import Problem, Split, Task

TASKS = {
    "tracing": "Variable tracing with the embedded model",
    "recall": "One value out of many pairs given far above",
    "repeat": "A list of words, all of them and in order",
    "gym:chain_sum": "Sums and differences of several numbers",
    "gym:basic_arithmetic": "Arithmetic with brackets",
    "gym:gsm_symbolic": "Word problems in the manner of GSM8K, generated",
    "gym:simple_equations": "Linear equations in one unknown",
    "gym:leg_counting": "How many legs so many animals have",
    "gym:base_conversion": "Numbers from one base to another",
    "gym:letter_counting": "How often a letter occurs",
    "gym:number_sorting": "Sorting numbers",
    "gym:word_sorting": "Sorting words",
    "gym:word_sequence_reversal": "A list of words backwards",
    "gym:spell_backward": "A word backwards",
    "gym:family_relationships": "Who is whose aunt",
    "gym:knights_knaves": "Who always lies and who never does",
    "gym:syllogism": "Whether a conclusion follows",
    "gym:needle_haystack": "One fact among many",
    "gym:path_star": "The one way through a star of paths",
    "gsm8k": "Word problems of primary school",
    "math-500": "500 problems of mathematics competitions, for measuring only",
    "aime24": "30 problems of AIME 2024, for measuring only",
    "deepscaler": "40,000 problems of mathematics competitions",
    "mbpp": "Small Python programs, run in a sandbox (off unless RLKV_ALLOW_CODE=1)",
}
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
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, n=2)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise UserError(
            f"There is no task '{name}'.{hint} Choose one of: {', '.join(TASKS)}, gym:NAME for "
            "another data set of reasoning-gym, or jsonl:PATH for a file of your own."
        )
    return _build(name)


def _build(name: str) -> Task:
    if name == "tracing":
        from rlkv.tasks.tracing import Tracing

        return Tracing()
    if name == "recall":
        from rlkv.tasks.recall import Recall

        return Recall()
    if name == "repeat":
        from rlkv.tasks.repeat import Repeat

        return Repeat()
    if name == "mbpp":
        from rlkv.tasks.mbpp import Mbpp

        return Mbpp()
    from rlkv.tasks.maths_sets import SETS

    return SETS[name]


__all__ = ["TASKS", "Problem", "Split", "Task", "get_task"]
