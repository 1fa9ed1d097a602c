"""The app's public endpoints: which there are, and how a function becomes one."""

from __future__ import annotations

import functools
import inspect
import json
import typing
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.events import api

from rlkv.errors import UserError
from storage.errors import StorageError
from ui.api.generating import GeneratingEndpoints
from ui.api.jobs import JobEndpoints
from ui.api.masks import MaskEndpoints
from ui.api.memory import MemoryEndpoints
from ui.studio import Studio

Endpoint = Callable[..., Any]
RUNS_A_MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
"""In one line with the chats, as `ui.events.MODEL_RUNS`."""
LOOKS: dict[str, Any] = {"concurrency_limit": 4}


def endpoints(studio: Studio) -> list[Endpoint]:
    """All of them, in the order of the documentation."""
    masks, jobs = MaskEndpoints(studio), JobEndpoints(studio)
    return [
        masks.list_masks,
        masks.get_mask,
        MemoryEndpoints(studio).estimate_memory,
        GeneratingEndpoints(studio).generate,
        jobs.start_training,
        jobs.start_evaluation,
        jobs.job,
        jobs.jobs,
        jobs.stop_job,
    ]


def build(studio: Studio) -> None:
    """Adds the endpoints to the open Blocks; they are tools of the MCP server too, if it is on."""
    for endpoint in endpoints(studio):
        options = RUNS_A_MODEL if inspect.isgeneratorfunction(endpoint) else LOOKS
        api(public(endpoint), api_name=endpoint.__name__, **options)


def public(endpoint: Endpoint) -> Endpoint:
    """The function as Gradio takes it: mistakes become one line for the caller, and what it
    gives is written down in types that Gradio turns into a schema."""
    if inspect.isgeneratorfunction(endpoint):

        @functools.wraps(endpoint)
        def stream(*given: Any) -> Iterator[Any]:
            try:
                _require_text(given)
                yield from endpoint(*given)
            except (UserError, StorageError) as error:
                raise gr.Error(str(error), print_exception=False) from error

        made: Endpoint = stream
    else:

        @functools.wraps(endpoint)
        def once(*given: Any) -> Any:
            try:
                _require_text(given)
                return endpoint(*given)
            except (UserError, StorageError) as error:
                raise gr.Error(str(error), print_exception=False) from error

        made = once
    made.__signature__ = _signature(endpoint)  # type: ignore[attr-defined]
    return made


def _require_text(given: tuple[Any, ...]) -> None:
    """Half of a surrogate pair passes as JSON, but nothing can store, read or send it.

    Raises:
        UserError: where there is one.
    """
    try:
        json.dumps(given, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise UserError("A text holds half of a character: send all of it, as UTF-8.") from None


def answer_of(endpoint: Endpoint) -> Any:
    """The type of one answer: of each one, where it streams."""
    hint = typing.get_type_hints(endpoint)["return"]
    return typing.get_args(hint)[0] if inspect.isgeneratorfunction(endpoint) else hint


def _signature(endpoint: Endpoint) -> inspect.Signature:
    hints = typing.get_type_hints(endpoint)
    found = inspect.signature(endpoint)
    parameters = [p.replace(annotation=hints[name]) for name, p in found.parameters.items()]
    answer = answer_of(endpoint)
    plain = list[dict[str, Any]] if typing.get_origin(answer) is list else dict[str, Any]
    return found.replace(parameters=parameters, return_annotation=plain)
