"""JSON from strangers: only finite numbers of a sane length, only text that can be written."""

from __future__ import annotations

import json
import math
from typing import Any

from rlkv.errors import UserError, first_line

MAX_DIGITS = 18


def read_json(data: bytes, name: str) -> Any:
    """The value in `data`, a file called `name`.

    Raises:
        UserError: if it is no JSON, or holds NaN, infinity or endless digits.
    """
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            parse_constant=_refused,
            parse_float=_finite,
            parse_int=_whole,
        )
        json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not valid JSON: {first_line(error)[:120]}.") from error
    return value


def read_object(data: bytes, name: str) -> dict[str, Any]:
    """As `read_json`, for a file that has to hold one object."""
    value = read_json(data, name)
    if not isinstance(value, dict):
        raise UserError(f"{name} must hold one JSON object.")
    return value


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is no finite number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a whole number has too many digits")
    return int(text)
