"""The port that the app would listen on."""

from __future__ import annotations

import os
import socket
import urllib.request

from rlkv.checks import Check

PORT = 7860
HOST = "127.0.0.1"


def port(number: int | None = None) -> Check:
    """Whether the app can listen, or already does.

    Args:
        number: the port; `GRADIO_SERVER_PORT` or 7860 where it is None.
    """
    if number is None:
        number = int(os.environ.get("GRADIO_SERVER_PORT") or PORT)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
            return Check("port", True, f"{number} is free")
        except OSError as error:
            why = error.strerror or "it can't be used"
    if is_ours(number):
        return Check("port", True, f"{number}: the app is running there")
    other = number + 1 if number < 65535 else PORT
    advice = f"Stop what uses it, or start the app with --port {other}."
    return Check("port", False, f"{number}: {why}", advice)


def is_ours(number: int) -> bool:
    """Whether this app answers there."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{number}/", timeout=3) as answer:
            return b"RLKV Studio" in answer.read(200_000)
    except (OSError, ValueError):
        return False
