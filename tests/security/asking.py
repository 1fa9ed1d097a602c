"""Asking the app past its pages, as anybody can."""

from __future__ import annotations

import json
from typing import Any

import httpx

PAGES = ("/", "/train", "/heads", "/head", "/masks", "/finder", "/chat", "/evaluate", "/stories")


def alive(client: httpx.Client) -> bool:
    # Not over a connection that the server may have hung up.
    return httpx.get(str(client.base_url), timeout=60).status_code == 200


def join(
    client: httpx.Client, event: int, data: list[Any], event_data: Any = None, session: str = "junk"
) -> str:
    """Sends an event past the page, and reads all that comes back."""
    body = json.dumps(
        {"data": data, "fn_index": event, "session_hash": session, "event_data": event_data,
         "trigger_id": 3}
    )  # fmt: skip
    kind = {"content-type": "application/json"}
    told = client.post("/gradio_api/run/predict", content=body, headers=kind).text
    answer = client.post("/gradio_api/queue/join", content=body, headers=kind)
    if answer.status_code == 200:
        where = {"session_hash": session}
        with client.stream("GET", "/gradio_api/queue/data", params=where) as stream:
            told += stream.read().decode()
    return told + answer.text
