"""What the Hub refuses, in one line that says what to do. Tokens never get into a message."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from rlkv.errors import UserError

HINTS = {
    400: "the Hub did not take it as it is",
    401: "the token is wrong or has expired, or the repository is private or not there: check the "
    "name, then run `hf auth login` again or set HF_TOKEN anew",
    403: "the token may not do that: it needs the right to write to repositories of that owner",
    404: "there is no such repository or revision, or the token may not see it: check the name",
    409: "somebody else changed the repository at the same time: look at it, then try again",
    412: "somebody else changed the repository at the same time: look at it, then try again",
    413: "it is larger than the Hub takes",
    429: "the Hub asks to slow down: try again in some minutes",
}
WRITE_HELP = (
    "run `hf auth login` once with a token that may write (huggingface.co/settings/tokens), or set "
    "HF_TOKEN"
)


OF_THE_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
"""What the cache's own folder refuses, while the Hub has answered."""


@contextmanager
def explained(
    what: str,
    token: str | None = None,
    *,
    hints: Mapping[int, str] = HINTS,
    unheard: str = "Check the network, then try again",
) -> Iterator[None]:
    """Turns the failures of the Hub, the network and the cache's disk into one line.

    Args:
        what: the beginning of the sentence, such as "'user/mask' can't be read".
        token: taken out of whatever the Hub says.
        hints: what to do, by the status of the answer.
        unheard: what to do where there is no answer.

    Raises:
        UserError: for every such failure.
    """
    try:
        yield
    except Exception as raised:
        error = _cause(raised)
        if not isinstance(error, HfHubHTTPError):
            if (why := _before_an_answer(error, unheard)) is None:
                raise
            raise UserError(f"{what}: {why}.") from None
        status = error.response.status_code if error.response is not None else 0
        said = _said(error.server_message, token)
        hint = hints.get(status, "the Hub is in trouble: try again later")
        raise UserError(f"{what}: {hint} (status {status}{said}).") from None


def _before_an_answer(error: Exception, unheard: str) -> str | None:
    """Why there is no answer of the Hub's to tell of; None for what has nothing to do with it."""
    if isinstance(error, HFValidationError):
        return "it is no name of a repository"
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        return f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)
    if is_of_network(error):
        return f"the Hub does not answer ({type(error).__name__}). {unheard}"
    return None


def _cause(raised: Exception) -> Exception:
    """What went wrong with a large file, which the Hub's client wraps."""
    cause = raised.__cause__
    return cause if isinstance(raised, RuntimeError) and isinstance(cause, Exception) else raised


def is_of_network(error: Exception) -> bool:
    """Whether the Hub was not reached: only in some versions are the client's errors OSErrors."""
    return isinstance(error, OSError | HfHubHTTPError.__mro__[1])


def _said(message: str | None, token: str | None) -> str:
    words = (message or "").strip().splitlines()
    if not words:
        return ""
    line = words[0][:200]
    return f", {line.replace(token, '[token]') if token else line}"
