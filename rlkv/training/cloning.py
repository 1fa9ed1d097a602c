"""Settings of an earlier job as the beginning of a new one, also of another version of the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rlkv.errors import UserError
from rlkv.training.config import TrainConfig, make_config


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


def to_go_on_with(params: Mapping[str, Any]) -> TrainConfig:
    """A job's own settings, all of them: a job goes on as it began, or not at all.

    Raises:
        UserError: if they are of another version of the code, with what to do.
    """
    try:
        return make_config(dict(params))
    except UserError as error:
        raise UserError(
            "This job was made by another version, whose settings this one does not know "
            f"({str(error).rstrip('.')}). Press Clone with changes and start the clone."
        ) from error


def _refused(values: dict[str, Any]) -> list[str]:
    try:
        TrainConfig(**values)
    except ValidationError as error:
        return sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
    return []
