"""A page without a browser: speaks Gradio's HTTP as its script does, so twenty fit on two cores.

It opens a page, keeps the heartbeat, runs what the page runs when it is loaded, fires events with
the values of the page's components, and takes over what comes back.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

MARK = "window.gradio_config = "
Dependency = dict[str, Any]


class Refused(Exception):
    """An event ended with an error."""


class Session:
    """One tab; `Session.open` is the way to get one."""

    def __init__(self, client: httpx.AsyncClient, config: dict[str, Any]) -> None:
        self.client = client
        self.hash = secrets.token_hex(6)
        self.config = config
        self.events: list[Dependency] = config["dependencies"]
        self.values = {c["id"]: c["props"].get("value") for c in config["components"]}
        self._ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
        self.times: list[float] = []
        """Seconds of every tick, from the request to the answer."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, page: str, **options: Any) -> AsyncIterator[Session]:
        """The page, loaded; leaving the block closes the tab."""
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits, **options) as client:
            session = cls(client, config_of((await client.get(page)).raise_for_status().text))
            heart = asyncio.create_task(session._heartbeat())
            try:
                for one in session.on("load"):
                    await session.fire(one)
                yield session
            finally:
                heart.cancel()
                await asyncio.gather(heart, return_exceptions=True)

    async def _heartbeat(self) -> None:
        async with self.client.stream("GET", f"gradio_api/heartbeat/{self.hash}") as answer:
            async for _ in answer.aiter_bytes():
                continue

    # --- what is on the page ----------------------------------------------------------------

    def id(self, elem_id: str) -> int:
        return int(self._ids[elem_id])

    def value(self, elem_id: str) -> Any:
        return self.values[self.id(elem_id)]

    def set(self, elem_id: str, value: Any) -> None:
        self.values[self.id(elem_id)] = value

    def on(self, event: str, elem_id: str | None = None) -> list[Dependency]:
        """Events of a name, of one component or of any, that go to the server."""
        return [
            one
            for one in self.events
            if one["backend_fn"]
            and any(
                name == event and (elem_id is None or target == self.id(elem_id))
                for target, name in one["targets"]
            )
        ]

    def after(self, event: Dependency, name: str = "success") -> list[Dependency]:
        """What follows an event that went well (or, `failure`, did not)."""
        return [
            one
            for one in self.events
            if one["trigger_after"] == event["id"] and [None, name] in one["targets"]
        ]

    # --- events -----------------------------------------------------------------------------

    async def fire(self, event: Dependency, event_data: Any = None) -> list[Any]:
        """Sends an event with the page's values; takes over and returns what comes back."""
        body = {
            "data": [self.values.get(i) for i in event["inputs"]],
            "event_data": event_data,
            "fn_index": event["id"],
            "trigger_id": event["targets"][0][0],
            "session_hash": self.hash,
        }
        output = await (self._queued(body) if event["queue"] else self._at_once(body))
        for component, data in zip(event["outputs"], output, strict=False):
            if not (isinstance(data, dict) and data.get("__type__") == "update"):
                self.values[component] = data
            elif "value" in data:
                self.values[component] = data["value"]
        return output

    async def tick(self) -> None:
        """What the page's timers do, timed."""
        for one in self.on("tick"):
            begun = time.monotonic()
            await self.fire(one)
            self.times.append(time.monotonic() - begun)

    async def _at_once(self, body: dict[str, Any]) -> list[Any]:
        answer = await self.client.post("gradio_api/run/predict", json=body)
        if answer.status_code != 200:
            raise Refused(f"{answer.status_code}: {answer.text[:300]}")
        return list(answer.json()["data"])

    async def _queued(self, body: dict[str, Any]) -> list[Any]:
        answer = await self.client.post("gradio_api/queue/join", json=body)
        if answer.status_code != 200:
            raise Refused(f"{answer.status_code}: {answer.text[:300]}")
        event = answer.json()["event_id"]
        where = {"session_hash": self.hash}
        last: list[Any] = []
        async with self.client.stream("GET", "gradio_api/queue/data", params=where) as stream:
            async for line in stream.aiter_lines():
                if not line.startswith("data: "):
                    continue
                told = json.loads(line[6:])
                if told.get("event_id") not in (event, None):
                    continue
                if told["msg"] == "process_completed":
                    if not told["success"]:
                        raise Refused(str(told["output"].get("error")))
                    return list(told["output"].get("data") or last)
                if told["msg"] == "process_generating" and told["success"]:
                    last = last or list(told["output"]["data"])
        raise Refused("the stream ended without an answer")

    async def ask_widget(self, elem_id: str, function: str, data: Any) -> Any:
        """Calls a function that a widget calls on the server."""
        answer = await self.client.post(
            "gradio_api/component_server",
            json={
                "data": data,
                "component_id": self.id(elem_id),
                "fn_name": function,
                "session_hash": self.hash,
            },
        )
        return answer.raise_for_status().json()

    # --- chatting ---------------------------------------------------------------------------

    async def chat(
        self, question: str, seen: Callable[[dict[str, Any]], None] | None = None
    ) -> list[dict[str, Any]]:
        """Asks on the chat page; returns the tokens of each side as the page got them.

        Args:
            question: what is asked.
            seen: gets every answer to the page's question for what is new.
        """
        self.set("question", question)
        send = self.on("click", "send")[0]
        await self.fire(send)
        token = self.value("talk")["run"]
        answering = asyncio.create_task(self.fire(self.after(send)[0]))
        try:
            sides = await self._follow(token, seen)
        finally:
            await answering
        return sides

    async def _follow(
        self, token: str, seen: Callable[[dict[str, Any]], None] | None
    ) -> list[dict[str, Any]]:
        sides: list[dict[str, Any]] = []
        while True:
            have = [len(side["t"]) for side in sides]
            begun = time.monotonic()
            got = await self.ask_widget("talk", "pull", {"run": token, "have": have})
            self.times.append(time.monotonic() - begun)
            if seen is not None:
                seen(got)
            if got["state"] == "gone":
                raise Refused("the run is gone")
            sides = sides or [{"t": [], "now": {}} for _ in got["sides"]]
            for side, new in zip(sides, got["sides"], strict=False):
                if new["from"] == len(side["t"]):
                    side["t"] += new["cols"].get("t", [])
                side["now"] = new["now"]
            if got["state"] == "done":
                return sides
            await asyncio.sleep(0.05 if got["sides"] else 0.2)


def config_of(page: str) -> dict[str, Any]:
    """What Gradio writes into a page for its script."""
    config, _ = json.JSONDecoder().raw_decode(page[page.index(MARK) + len(MARK) :])
    found: dict[str, Any] = config
    return found
