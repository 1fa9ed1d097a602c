"""The one error that a person is meant to read, and what it quotes of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


class UserError(Exception):
    """A mistake that the user can mend. The message is one line and says what to do next.

    The command line prints it and exits with 2, the app shows it as a message, a job stores
    it as the reason of its failure. Everything else is a defect and is logged with a trace.
    """


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shown(value: object, most: int = 200) -> str:
    """A value that somebody gave, as a message quotes it: at most so many characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def of_setting(
    error: ValidationError, settings: type[BaseModel], unquoted: str | None = None
) -> UserError:
    """Names the first setting that does not fit and what it may be; quotes what was given, but not
    for the field `unquoted`, whose value would fill pages."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    known = settings.model_fields.get(name)
    message = first["msg"].removeprefix("Value error, ").lower()
    got = "" if name == unquoted else f", got {shown(first['input'])}"
    return UserError(f"{known.title if known else name}: {message}{got}.")


def in_full(error: BaseException) -> str:
    """All that another library's error says, in one line; with its kind where that is a defect of
    its own, such as a KeyError, whose words alone say little."""
    words = " ".join(str(error).split())
    odd = isinstance(error, LookupError | TypeError | AttributeError | AssertionError)
    return f"{type(error).__name__}: {words}" if odd or not words else words
