"""Whether the Hub can be reached, asked quickly: its client retries for half a minute."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from rlkv.errors import UserError

TIMEOUT_S = 4.0


def require_reachable(what: str) -> None:
    """Raises UserError, naming `what` is wanted, if we are offline or nobody answers."""
    from huggingface_hub.constants import ENDPOINT

    if os.environ.get("RLKV_OFFLINE") == "1" or os.environ.get("HF_HUB_OFFLINE") == "1":
        raise UserError(f"{what} is not on this machine, and the app is set to work offline.")
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return  # a direct connection would say nothing
    address = urlsplit(ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=TIMEOUT_S).close()
    except OSError as error:
        raise UserError(
            f"{what} is not on this machine, and {address.hostname} can't be reached: check the "
            "name and the network."
        ) from error
