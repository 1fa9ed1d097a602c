"""The head finder: all heads in one table, to sort, filter, open and take away."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from rlkv.explore.measures import MEASURES
from rlkv.explore.table import HeadTable
from ui import catalogue, measured
from ui.components.head_table import Column, HeadRow, head_table, head_table_value
from ui.components.header import header, html, title
from ui.downloads import new_folder, take
from ui.engine import MODEL
from ui.events import MODEL_RUNS, PRIVATE, QUIET
from ui.head.here import Here, link, require_model
from ui.messages import refusal, told
from ui.studio import Studio

COLUMNS = [
    Column("Gate", "The learned gate: 1 needs the whole past, 0 gets by with a few tokens."),
    Column("Rank", "The order in which the mask keeps heads, 1 the most needed.", rank=True),
    *(Column(one.title, one.what) for one in MEASURES.values()),
]
KEYS = ["gate", "gate_rank", *MEASURES]
"""The rows' names of the columns."""
ADDRESS: dict[str, Any] = {
    "js": "key => rlkvAddress('mask', key)",
    "api_visibility": "private",
}
NOT_MEASURED = (
    '<div class="blank">The heads of this model have not been measured on this task yet. Press '
    "“Measure all heads”: it takes seconds on a small model, minutes on a large one.</div>"
)


@dataclass(frozen=True)
class Parts:
    """The page's components that events write to."""

    chooser: gr.Dropdown
    measure: gr.Button
    download: gr.Button
    file: gr.DownloadButton
    note: gr.HTML
    table: gr.HTML

    def shown(self) -> list[Any]:
        """What changes with the mask."""
        return [self.note, self.table, self.measure, self.download]


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    header("Finder")
    title(
        "Head finder",
        "Every KV head with what was learned and what can be measured. Press a heading to sort, "
        "write a bound under it to filter, press a row to open the head.",
    )
    with gr.Column(elem_classes="card"):
        with gr.Row(equal_height=False):
            chooser = gr.Dropdown(
                [], label="Mask", interactive=True, elem_id="mask", scale=3, min_width=230
            )
            with gr.Column(scale=2, min_width=220, elem_classes="side-actions"):
                measure = gr.Button("Measure all heads", visible=False, elem_id="measure")
                download = gr.Button("Download as CSV", interactive=False, elem_id="csv")
        note = html(elem_id="finder-note")
        table = head_table("finder")
    file = gr.DownloadButton(visible="hidden", elem_id="finder-file")
    _wire(studio, app, Parts(chooser, measure, download, file, note, table))


def _wire(studio: Studio, app: gr.Blocks, p: Parts) -> None:
    def opened(request: gr.Request) -> list[Any]:
        return _chosen(studio, request.query_params.get("mask"))

    def chosen(key: str) -> list[Any]:
        return _shown(studio, key)

    def measure(key: str) -> list[Any]:
        _measure(studio, key)
        return _shown(studio, key)

    def unasked(key: str) -> list[Any]:
        entry = catalogue.find(studio, key)
        if entry is None or _model(entry) != MODEL or _known(studio, entry) is not None:
            return [gr.skip()] * len(p.shown())
        return measure(key)

    app.load(opened, None, [p.chooser, *p.shown()], **QUIET).then(
        unasked, p.chooser, p.shown(), **MODEL_RUNS
    )
    changed = p.chooser.input(chosen, p.chooser, p.shown(), **QUIET)
    changed.then(None, p.chooser, None, **ADDRESS)
    changed.then(unasked, p.chooser, p.shown(), **MODEL_RUNS)
    p.measure.click(measure, p.chooser, p.shown(), **MODEL_RUNS)
    _wire_ways_out(studio, p)


def _wire_ways_out(studio: Studio, p: Parts) -> None:
    def write(key: str) -> str:
        entry = catalogue.find(studio, key)
        table = _known(studio, entry) if entry else None
        if entry is None or table is None:
            raise refusal("Measure the heads first.")
        return str(table.write_csv(new_folder("heads") / "heads.csv", entry.mask))

    p.download.click(write, p.chooser, p.file, **PRIVATE).success(
        None, None, None, **take("finder-file")
    )


def _measure(studio: Studio, key: str) -> None:
    """Measures the heads of a mask's model, unless that has been done."""
    entry = catalogue.find(studio, key)
    if entry is None:
        raise refusal("There is no mask yet: train one first.")
    with told():
        require_model(studio, Here(entry, _model(entry), (0, 0)))
        if _known(studio, entry) is None:
            measured.measure(studio, entry, _model(entry))


def _chosen(studio: Studio, key: str | None) -> list[Any]:
    entry = catalogue.find(studio, key)
    options = catalogue.choices(studio, also=key)
    if entry is None:
        words = '<div class="blank">There is no mask yet. <a href="./train">Train one</a>.</div>'
        return [gr.update(choices=[], value=None), words, *[gr.skip()] * 3]
    return [gr.update(choices=options, value=entry.key), *_shown(studio, entry.key)]


def _shown(studio: Studio, key: str | None) -> list[Any]:
    """Note, table and buttons: what is measured can be taken away."""
    entry = catalogue.find(studio, key)
    table = _known(studio, entry) if entry else None
    if entry is None or table is None:
        return [NOT_MEASURED, None, gr.update(visible=True), gr.update(interactive=False)]
    words = (
        f"Measured on {table.n} answers to {table.task}; far is what a window of "
        f"{table.sink_tokens} + {table.recent_tokens} tokens leaves out. {table.note}"
    )
    shown = head_table_value(COLUMNS, rows_of(entry, table))
    note = f'<p class="note">{escape(words)}</p>'
    return [note, shown, gr.update(visible=False), gr.update(interactive=True)]


def rows_of(entry: catalogue.Entry, table: HeadTable) -> list[HeadRow]:
    """One row a head, the most needed first."""
    rows = [
        HeadRow(
            head=f"{row['layer']}.{row['head']}",
            href=link(entry.key, _model(entry), int(row["layer"] or 0), int(row["head"] or 0)),
            kept=bool(row["kept"]),
            values=[float(f"{float(row[key] or 0):.4g}") for key in KEYS],
        )
        for row in table.to_rows(entry.mask)
    ]
    return sorted(rows, key=lambda row: row.values[1])


def _known(studio: Studio, entry: catalogue.Entry) -> HeadTable | None:
    return measured.known(studio, entry, _model(entry))


def _model(entry: catalogue.Entry) -> str:
    return entry.mask.model or MODEL
