"""Who may reach the app: this machine only, or others with a password.

On an address that others reach, `--auth NAME:PASSWORD` (or `RLKV_AUTH`) is demanded. On a Space
visitors are wanted, and what they may do is limited instead. Whoever has a password in front of
the app already, a proxy for example, says so: `--auth none`.
"""

from __future__ import annotations

import ipaddress
import os

from storage.errors import StorageError

VARIABLE = "RLKV_AUTH"
OPEN = "none"
"""Said instead of a name and a password: others come in without one."""
SHORTEST = 8
"""Characters of a password."""

Auth = list[tuple[str, str]]


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def auth_for(host: str, given: str = "", *, on_space: bool = False) -> Auth | None:
    """Names and passwords as Gradio's `launch(auth=...)` takes them; None lets everybody in.

    Args:
        host: the address to listen on.
        given: `--auth`; what `RLKV_AUTH` says where it is empty.
        on_space: whether this is a Space, which is for visitors.

    Raises:
        StorageError: if others could come in and nobody said how, or what was said is no name
            and password.
    """
    said = given or os.environ.get(VARIABLE, "")
    if said and said != OPEN:
        return [_pair(said)]
    if said == OPEN or on_space or is_local(host):
        return None
    raise StorageError(
        f"{host} lets others on your network use this app, read your chats and start jobs. Ask "
        f"them for a password: --auth NAME:PASSWORD, or {VARIABLE}=NAME:PASSWORD, which does not "
        f"show in the list of processes. If something in front of the app does that: --auth {OPEN}."
    )


def warning(host: str, auth: Auth | None, *, on_space: bool = False) -> str:
    """What to print at the start, or ""."""
    if on_space or is_local(host):
        return ""
    if auth is None:
        return f"Warning: {host} is open to everybody who reaches it, without a password."
    return (
        f"Note: {host} is reached without encryption, so the password can be read on the way. "
        "Outside a network that you trust, put a proxy with HTTPS in front of it."
    )


def _pair(said: str) -> tuple[str, str]:
    name, colon, password = said.partition(":")
    if not name or not colon or len(password) < SHORTEST:
        raise StorageError(
            f"--auth and {VARIABLE} take NAME:PASSWORD, with at least {SHORTEST} characters of "
            f"password, or {OPEN}."
        )
    return name, password
