"""Form fields made from a pydantic model: titles, help, bounds and defaults are the model's own."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import gradio as gr
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Choices = dict[str, list[str]]


def fields(
    config: type[BaseModel], names: list[str], *, choices: Choices | None = None, prefix: str = ""
) -> list[gr.components.Component]:
    """One component for each of `names`; `choices` offers values for text fields."""
    made = []
    for name in names:
        info = config.model_fields[name]
        options = (choices or {}).get(name)
        made.append(_component(info, options, elem_id=f"{prefix}{name}"))
    return made


def read(config: type[BaseModel], names: list[str], values: tuple[Any, ...]) -> dict[str, Any]:
    """What the components hold, by name; empty fields are left to the model's defaults."""
    given = {}
    for name, value in zip(names, values, strict=True):
        if value is None or value == "":
            continue
        wants_int = config.model_fields[name].annotation is int
        whole = wants_int and isinstance(value, float) and value.is_integer()
        given[name] = int(value) if whole else value
    return given


def _component(info: FieldInfo, options: list[str] | None, elem_id: str) -> Any:
    common: dict[str, Any] = {
        "label": info.title,
        "info": info.description,
        "value": info.default,
        "elem_id": elem_id,
        "min_width": 150,
        "interactive": True,
    }
    if info.annotation is bool:
        return gr.Checkbox(**common)
    if info.annotation in (int, float):
        # Without bounds of its own: Gradio's message would not say which field is meant.
        whole = info.annotation is int
        return gr.Number(**common, precision=0 if whole else None, step=1 if whole else 0.01)
    if get_origin(info.annotation) is Literal:
        return gr.Dropdown(list(get_args(info.annotation)), **common)
    if options:
        return gr.Dropdown(options, allow_custom_value=True, **common)
    return gr.Textbox(**common)
