"""A browser's tab without a browser: speaks to a running app as Gradio's own page does, so that any
event can be sent by any visitor with any data."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx

from ui.visitor import ON_SPACE

API = "/gradio_api"


class Refused(Exception):
    """The app answered with an error; its words."""


class Tab:
    """One page load of a visitor."""

    def __init__(self, url: str, cookie: str | None, **headers: str) -> None:
        if cookie is not None:
            headers["Cookie"] = f"{ON_SPACE}={cookie}"
        # Nothing is kept open between requests, so that nothing has to be closed.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60, limits=limits)
        self.session = secrets.token_hex(6)
        config = self.http.get("/config").json()
        self.components = {one["id"]: one["props"] for one in config["components"]}
        self.events: list[dict[str, Any]] = config["dependencies"]

    def fire(
        self, elem_id: str, event: str, sent: Any = None, query: str = "", **values: Any
    ) -> dict[str, Any]:
        """An event of a component, with its data and with values of fields; the outputs by id."""
        for one in self.events:
            if any(self._name(key) == elem_id and name == event for key, name in one["targets"]):
                return self._run(one, sent, query, values)
        raise AssertionError(f"there is no {event} of #{elem_id}")

    def open(self, shows: str, query: str = "") -> dict[str, Any]:
        """Opens the page that shows a component, at an address."""
        for one in self.events:
            names = {self._name(key) for key in one["outputs"]}
            if shows in names and any(name == "load" for _, name in one["targets"]):
                return self._run(one, None, query, {})
        raise AssertionError(f"nothing fills #{shows} when its page opens")

    def call(self, elem_id: str, function: str, data: Any) -> Any:
        """A function of a widget, called by its script."""
        key = next(key for key, props in self.components.items() if props.get("elem_id") == elem_id)
        body = {
            "session_hash": self.session, "component_id": key, "fn_name": function, "data": data,
        }  # fmt: skip
        return self.http.post(f"{API}/component_server", json=body).raise_for_status().json()

    def api(self, name: str, *data: Any) -> Any:
        """A public endpoint's last answer."""
        one = next(one for one in self.events if one.get("api_name") == name)
        return self._send(one, list(data), None, "")[0]

    def _run(
        self, event: dict[str, Any], sent: Any, query: str, values: dict[str, Any]
    ) -> dict[str, Any]:
        given = [
            values.get(self._name(key).replace("-", "_"), self.components[key].get("value"))
            for key in event["inputs"]
        ]
        found = self._send(event, given, sent, query)
        return {self._name(key): one for key, one in zip(event["outputs"], found, strict=True)}

    def _send(self, event: dict[str, Any], data: list[Any], sent: Any, query: str) -> list[Any]:
        body = {
            "data": data, "event_data": sent, "fn_index": event["id"],
            "session_hash": self.session, "trigger_id": None,
        }  # fmt: skip
        if not event["queue"]:
            answer = self.http.post(f"{API}/run/predict{query}", json=body)
            if answer.status_code != 200:
                raise Refused(answer.text)
            return list(answer.json()["data"])
        joined = self.http.post(f"{API}/queue/join{query}", json=body).raise_for_status()
        return self._answer(joined.json()["event_id"])

    def _answer(self, event_id: str) -> list[Any]:
        """The last state; a stream sends the first one whole, and then what changed."""
        last: list[Any] = []
        address = f"{API}/queue/data"
        with self.http.stream("GET", address, params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                told = json.loads(line[6:]) if line.startswith("data: ") else {}
                if told.get("event_id") != event_id:
                    continue
                if told["msg"] == "process_generating" and told["output"]["data"]:
                    last = told["output"]["data"]
                if told["msg"] == "process_completed":
                    if not told["success"]:
                        raise Refused(str(told["output"].get("error")))
                    return list(told["output"].get("data") or last)
        raise AssertionError("the stream ended before its answer")

    def _name(self, key: int) -> str:
        props = self.components.get(key, {})
        return str(props.get("elem_id") or key)
