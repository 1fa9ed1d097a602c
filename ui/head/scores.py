"""The part of the page with the head's place under other rankings, and the heads most like it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from rlkv.explore.measures import MEASURES
from rlkv.explore.table import HeadTable
from ui import measured
from ui.components.header import html, section
from ui.head.here import Here
from ui.studio import Studio

SHOWN = 6
"""Heads that are listed as alike."""
NOT_MEASURED = (
    '<p class="note">Not measured yet for this model and task. It takes seconds on a small '
    "model, minutes on a large one.</p>"
)


@dataclass(frozen=True)
class Parts:
    """Components that events read and write."""

    rankings: gr.HTML
    alike: gr.HTML
    button: gr.Button

    def shown(self) -> list[Any]:
        """What a measurement fills."""
        return [self.rankings, self.alike, self.button]


def build() -> Parts:
    """Lays the part out."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=320, elem_classes="card flush"):
            section(
                "Under other rankings",
                "The gate says what reasoning needs; these are cheap looks at the untouched model. "
                '<a href="./finder">All heads in a table</a>',
            )
            rankings = html(elem_id="head-rankings")
            button = gr.Button("Measure all heads", visible=False, elem_id="head-measure")
        with gr.Column(scale=5, min_width=300, elem_classes="card flush"):
            section("Heads that behave like it", "They attend to the same tokens.")
            alike = html(elem_id="head-alike")
    return Parts(rankings, alike, button)


def known(studio: Studio, here: Here) -> list[Any]:
    """Rankings, alike heads and the button, from what was measured before."""
    table = measured.known(studio, here.entry, here.model)
    if table is None:
        return [NOT_MEASURED, "", gr.update(visible=True)]
    return _shown(here, table)


def measure(studio: Studio, here: Here) -> list[Any]:
    """The same, measured now if need be.

    Raises:
        UserError: whatever keeps the model from being measured.
    """
    table = measured.known(studio, here.entry, here.model)
    return _shown(here, table or measured.measure(studio, here.entry, here.model))


def _shown(here: Here, table: HeadTable) -> list[Any]:
    return [_rankings(here, table), _alike(here, table), gr.update(visible=False)]


def _rankings(here: Here, table: HeadTable) -> str:
    total = here.mask.kept.size
    rows = table.to_rows(here.mask)
    row = rows[here.cell[0] * here.mask.kv_heads + here.cell[1]]
    score = float(here.mask.scores[here.cell])
    cut_by = "The score that this mask is cut by."
    gate = _row("Learned", cut_by, score, int(row["gate_rank"] or 0), total)
    others = [
        _row(one.title, one.what, float(row[key] or 0.0), int(row[f"{key}_rank"] or 0), total)
        for key, one in MEASURES.items()
    ]
    note = (
        f"Measured on {table.n} answers to {escape(table.task)}; far is what a window of "
        f"{table.sink_tokens} + {table.recent_tokens} tokens leaves out. {table.note}"
    )
    return (
        '<table class="rankings"><thead><tr><th scope="col">Ranking</th><th scope="col">Value</th>'
        f'<th scope="col">Rank of {total}</th></tr></thead><tbody>{gate}{"".join(others)}</tbody>'
        f'</table><p class="note under">{note}</p>'
    )


def _row(title: str, what: str, value: float, rank: int, total: int) -> str:
    share = 100 * (total - rank) / max(total - 1, 1)
    return (
        f'<tr><th scope="row">{escape(title)}<small>{escape(what)}</small></th>'
        f'<td>{value:.3g}</td><td><span class="rankbar"><i style="width:{share:.0f}%"></i></span>'
        f"<b>{rank}</b></td></tr>"
    )


def _alike(here: Here, table: HeadTable) -> str:
    rows = []
    for one in table.similar(*here.cell, top=SHOWN):
        kept = bool(here.mask.kept[one.layer, one.head])
        kind = ("kept", "kept") if kept else ("cut", "compressed")
        rows.append(
            f'<li><a href="{escape(here.address((one.layer, one.head)))}">'
            f"<b>{one.layer}.{one.head}</b>"
            f'<span class="rankbar"><i style="width:{100 * one.likeness:.0f}%"></i></span>'
            f"<span>{one.likeness:.2f}</span>"
            f'<span class="kind {kind[0]}">{kind[1]}</span></a></li>'
        )
    return f'<ul class="alike">{"".join(rows)}</ul>'
