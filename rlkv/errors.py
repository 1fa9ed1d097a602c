"""The one error that a person is meant to read, and what it quotes of others."""


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


def in_full(error: BaseException) -> str:
    """All that another library's error says, in one line; with its kind where that is a defect of
    its own, such as a KeyError, whose words alone say little."""
    words = " ".join(str(error).split())
    odd = isinstance(error, LookupError | TypeError | AttributeError | AssertionError)
    return f"{type(error).__name__}: {words}" if odd or not words else words
