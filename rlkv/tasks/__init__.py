"""Tasks: problems in, verifier out. One file each."""

from rlkv.errors import UserError
from rlkv.tasks.base import Problem, Task
from rlkv.tasks.tracing import Tracing

TASKS: dict[str, type[Tracing]] = {"tracing": Tracing}


def get_task(name: str) -> Task:
    """The task called `name`.

    Raises:
        UserError: if there is none; names those there are.
    """
    if name not in TASKS:
        raise UserError(f"There is no task '{name}'. Choose one of: {', '.join(TASKS)}.")
    return TASKS[name]()


__all__ = ["TASKS", "Problem", "Task", "get_task"]
