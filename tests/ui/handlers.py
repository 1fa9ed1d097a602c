"""What a page calls on an event, to be called by a test without a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from tests.apart import run_apart


def built(build: Callable[[gr.Blocks], object]) -> gr.Blocks:
    """An app of what `build` adds. In a loop of its own: where none runs Gradio makes some, and
    never closes them; and in a thread, since a test of this process may drive a browser."""

    async def make() -> gr.Blocks:
        with gr.Blocks() as app:
            build(app)
        return app

    return run_apart(make())


def handler(app: gr.Blocks, name: str) -> Callable[..., Any]:
    """The event's function of that name, written as `ui.page.function`."""
    for one in app.fns.values():
        fn: Any = one.fn
        if f"{getattr(fn, '__module__', '')}.{getattr(fn, '__name__', '')}" == name:
            return fn
    raise AssertionError(f"no event calls {name}")
