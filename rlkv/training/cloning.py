"""Settings of an earlier job as the beginning of a new one, also of another version of the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rlkv.training.config import TrainConfig


def carried_over(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What of a job's settings today's `TrainConfig` takes, and a note for each that it doesn't.

    Settings that the job did not know yet are left to their defaults.
    """
    notes, values = [], {}
    for name, value in params.items():
        if name in TrainConfig.model_fields:
            values[name] = value
        else:
            notes.append(f"'{name}' is no setting any more and was left out.")
    for name in _refused(values):
        field = TrainConfig.model_fields[name]
        notes.append(f"{field.title}: {values.pop(name)!r} is not possible any more; the default.")
    return values, notes


def _refused(values: dict[str, Any]) -> list[str]:
    try:
        TrainConfig(**values)
    except ValidationError as error:
        return sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
    return []
