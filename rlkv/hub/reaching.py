"""Whether the Hub can be reached, asked quickly: its client retries for half a minute."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar
from urllib.parse import urlsplit

from rlkv.errors import UserError

TIMEOUT_S = 4.0

Answer = TypeVar("Answer")


def require_reachable(what: str) -> None:
    """Raises UserError, naming `what` is wanted, if we are offline or nobody answers.

    Takes `TIMEOUT_S` at most, also where it is the name that nobody resolves.
    """
    from huggingface_hub import constants

    if os.environ.get("RLKV_OFFLINE") == "1" or os.environ.get("HF_HUB_OFFLINE") == "1":
        raise UserError(f"{what} is not on this machine, and the app is set to work offline.")
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return  # a direct connection would say nothing
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)

    def connect() -> None:
        socket.create_connection((address.hostname or "", port), timeout=TIMEOUT_S).close()

    try:
        within(TIMEOUT_S, connect)
    except OSError as error:
        raise UserError(
            f"{what} is not on this machine, and {address.hostname} can't be reached: check the "
            "name and the network."
        ) from error


def within(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """What `ask` returns or raises, waited for at most `seconds`.

    Raises:
        TimeoutError: if it takes longer; it then ends by itself, unheard.
    """
    heard: SimpleQueue[Callable[[], Answer]] = SimpleQueue()

    def run() -> None:
        try:
            answer = ask()
        except BaseException as error:
            failure = error

            def fail() -> Answer:
                raise failure

            heard.put(fail)
        else:
            heard.put(lambda: answer)

    threading.Thread(target=run, name="hub", daemon=True).start()
    try:
        say = heard.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    return say()
