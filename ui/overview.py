"""The first page: what this is, a real heatmap, a recorded comparison. Loads no model."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from rlkv.mask_metrics import figure
from rlkv.masks import HeadMask
from rlkv.tasks import Problem, get_task
from ui import catalogue, space
from ui.components.header import duplicate, header, html, section, title
from ui.components.headmap import head_map, head_map_value
from ui.components.race import final, recording_view
from ui.components.tiles import Tile, tiles
from ui.heads.views import needed
from ui.studio import EXAMPLES
from ui.units import percent

WORDS = (
    "Reinforcement learning finds the attention heads that a reasoning model really needs. "
    'Those keep a <b class="full">full</b> KV cache; the others are '
    '<b class="comp">compressed</b> to a few first and latest tokens.'
)
LINKS = (
    '<a class="go main" href="./chat">Ask both models</a>'
    '<a class="go" href="./heads">Explore the heads</a>'
    '<a class="go" href="./train">Train your own</a>'
)


def build() -> None:
    """Adds the page's components to the open Blocks."""
    header("Overview")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            title("Which heads does reasoning need?", WORDS, extra=_links(), hero=True)
            _facts()
        with gr.Column(scale=6, min_width=320, elem_classes="card flush"):
            _picture()
    with gr.Column(elem_classes="card flush"):
        _comparison()


def _links() -> str:
    """Where to go from here; a visitor of a Space may want one of their own."""
    where = space.here()
    own = f'<a class="go" {duplicate(where)}>Duplicate this Space</a>' if where else ""
    return f'<div class="goes">{LINKS}{own}</div>'


def _facts() -> None:
    mask = catalogue.shipped()
    if mask is None:
        return
    items = [
        Tile("Sparsity", percent(mask.sparsity), f"of {mask.kept.size} heads"),
        Tile("KV saved", percent(mask.kv_saved(1024)), "at 1,024 tokens"),
        *_accuracy(mask),
    ]
    html(
        tiles(items) + '<p class="note under">What this one mask does for the embedded model. '
        "Everything here runs on this machine, with nothing to download.</p>"
    )


def _accuracy(mask: HeadMask) -> list[Tile]:
    """What the training measured at the end, if the mask was cut where it was measured."""
    at_half = figure(mask, "accuracy_at_50")
    if at_half is None or abs(mask.sparsity - 0.5) > 0.01:
        return []
    full = figure(mask, "accuracy_full")
    beside = f"full {percent(full)}" if full is not None else ""
    return [Tile("Right answers", percent(at_half), beside)]


def _picture() -> None:
    section(
        "Every KV head of the model, by how much it is needed",
        "Learned by GRPO: reward for right answers, a price on memory.",
    )
    mask = catalogue.shipped()
    if mask is None:
        html(
            '<div class="blank">The shipped example is not in this copy yet.<br>'
            '<a href="./train">Train a mask</a> and it will appear under Heads.</div>'
        )
        return
    head_map(_map_value(mask), "overview-map")


def _map_value(mask: HeadMask) -> dict[str, Any]:
    shown = needed(mask)
    return head_map_value(
        shown.values,
        kept=mask.kept,
        texts=shown.texts,
        hover=shown.hover,
        legend=shown.legend,
        name=shown.name,
        column=shown.column,
        file="heads",
    )


def _comparison() -> None:
    recording = load_recording()
    if recording is None:
        section("Full and compressed, side by side")
        html(
            '<div class="blank">No recorded comparison in this copy yet.<br>'
            '<a href="./chat">Ask the two models yourself.</a></div>'
        )
        return
    share = percent(recording["mask"]["sparsity"])
    section(
        "Same question, same model, less memory",
        f"A recorded answer of the embedded model, with {share} of its KV heads compressed "
        "on one side. The bytes are what its cache really held after each token.",
    )
    recording_view(recording, "recording")


def load_recording() -> dict[str, Any] | None:
    """`examples/comparison.json` with the verdicts added, or None if it can't be used."""
    try:
        recording: dict[str, Any] = json.loads((EXAMPLES / "comparison.json").read_text())
        sides = recording["sides"]
        share = percent(recording["mask"]["sparsity"])
        curves = []
        for one, role in zip(sides, ("full", "compressed"), strict=True):
            name = role.capitalize()
            hint = "every head kept" if role == "full" else f"{share} compressed"
            one.update(role=role, short=name, label=name, hint=hint)
            problem = Problem(recording["prompt"], str(recording["answer"]))
            one["right"] = get_task("tracing").reward(one["steps"][-1]["text"], problem) == 1.0
            curves.append([(s["length"], s["kv_bytes"]) for s in one["steps"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    same = final(sides[0]["steps"][-1]["text"]) == final(sides[1]["steps"][-1]["text"])
    length = min(curve[-1][0] for curve in curves)
    recording["agree"] = f"at {length} tokens, {'the same answer' if same else 'another answer'}"
    return recording
