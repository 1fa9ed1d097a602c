"""What an evaluation measured, as files for others: CSV, JSON, and a page with the curves."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from rlkv.errors import UserError
from rlkv.evaluation.results import MarkLike, Point, Results, Series, near_lossless
from rlkv.evaluation.samples import VERDICTS
from rlkv.files import write_whole

SCHEMA = 1
POINTS = "points.csv"
SAMPLES = "samples.csv"
RECORD = "evaluation.json"
PAGE = "curves.html"
COLUMNS = (
    "cell", "problem", "draw", "verdict", "stop", "tokens", "length", "kv_bytes", "text",
)  # fmt: skip
"""Of an answer, in the files that have them."""


class SampleLike(MarkLike, Protocol):
    """One answer, as storage or a run hands it over."""

    @property
    def draw(self) -> int: ...
    @property
    def stop(self) -> str: ...
    @property
    def text(self) -> str: ...


def points_csv(results: Results) -> str:
    """One row a point, the full cache first. Bytes and lengths are means over answers.

    `complete` is 0 for a point that is still being measured: short problems come first.
    """
    rows = [_row("full", "Full cache", False, results.full)] if results.full else []
    for one in results.series:
        rows += [_row(one.key, one.title, one.top, point) for point in one.points]
    return _csv(rows)


def samples_csv(samples: Iterable[SampleLike]) -> str:
    """One row an answer, its text included."""
    return _csv([{name: _inert(getattr(one, name)) for name in COLUMNS} for one in samples])


def record(results: Results, config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the answers, as plain values: settings, machine, all points."""
    tolerance = float(config.get("tolerance", 0.0))
    series = []
    for one in results.series:
        best = near_lossless(one, tolerance)
        series.append({**asdict(one), "near_lossless": None if best is None else best.sparsity})
    return {
        "schema": SCHEMA,
        "settings": dict(config),
        "facts": dict(facts),
        "samples": results.samples,
        "wanted": results.wanted,
        "full": asdict(results.full) if results.full else None,
        "series": series,
    }


def read_record(path: Path) -> tuple[Results, dict[str, Any], dict[str, Any]]:
    """What `record` made: the table, the settings and the facts.

    Raises:
        UserError: if the file can't be read or is no record of ours.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["schema"] != SCHEMA:
            raise ValueError(f"schema {told['schema']}")
        series = tuple(
            Series(
                one["key"], one["title"], one["method"], bool(one["top"]),
                tuple(_point(point) for point in one["points"]),
            )
            for one in told["series"]
        )  # fmt: skip
        full = _point(told["full"]) if told["full"] else None
        found = Results(full, series, int(told["samples"]), int(told["wanted"]))
        return found, dict(told["settings"]), dict(told["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no record of an evaluation ({error}).") from error


def _point(told: Mapping[str, Any]) -> Point:
    pairs = {
        name: tuple(told[name]) if told[name] is not None else None
        for name in ("interval", "difference_interval", "cells")
    }
    return Point(**{**told, **pairs})


def page(results: Results, config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """One HTML file with Plotly's script in it: opens without a network."""
    from rlkv.evaluation.figures import figures

    parts = []
    for number, (title, figure) in enumerate(figures(results)):
        drawn = figure.to_html(
            full_html=False,
            include_plotlyjs=number == 0,
            config={"displaylogo": False, "responsive": True},
        )
        parts.append(f"<section><h2>{html.escape(title)}</h2>{drawn}</section>")
    told = {**{k: v for k, v in config.items() if k != "masks"}, **facts}
    lines = "".join(
        f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd>" for k, v in told.items()
    )
    head = html.escape(f"{config.get('model', '')} on {config.get('task', '')}")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{head}</title><style>{_STYLE}</style></head>
<body><main><h1>{head}</h1>{"".join(parts)}<dl>{lines}</dl></main></body></html>
"""


def write(
    folder: Path,
    results: Results,
    samples: Iterable[SampleLike],
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Writes all four files.

    Raises:
        UserError: if the folder can't be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / POINTS, points_csv(results))
        write_whole(folder / SAMPLES, samples_csv(samples))
        write_whole(folder / RECORD, json.dumps(record(results, config, facts), indent=1) + "\n")
        write_whole(folder / PAGE, page(results, config, facts))
    except OSError as error:
        raise UserError(f"{folder} can't be written to: {error.strerror}.") from error


def _row(key: str, title: str, top: bool, point: Point) -> dict[str, Any]:
    low, high = point.interval
    gap_low, gap_high = point.difference_interval or (None, None)
    return {
        "series": key,
        "title": _inert(title),
        "top": int(top),
        "sparsity": point.sparsity,
        "kept": point.kept,
        "problems": point.problems,
        "samples": point.samples,
        "accuracy": point.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "difference": point.difference,
        "difference_low": gap_low,
        "difference_high": gap_high,
        "mean_tokens": point.tokens,
        "mean_tokens_right": point.tokens_right,
        "mean_kv_bytes": point.kv_bytes,
        "mean_length": point.length,
        **{name: point.modes[name] for name in VERDICTS},
        "complete": int(point.complete),
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    if rows:
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return text.getvalue()


def _inert(value: Any) -> Any:
    """A spreadsheet would run a text that begins like a formula."""
    dangerous = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if dangerous else value


_STYLE = """
body { font: 15px system-ui, sans-serif; color: #171a20; background: #f7f6f2; margin: 0 }
main { max-width: 980px; margin: 0 auto; padding: 24px 16px }
section { background: #fff; border-radius: 10px; padding: 12px 16px; margin: 16px 0 }
h1 { font-size: 24px } h2 { font-size: 16px }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; color: #5a616e }
dd { margin: 0; overflow-wrap: anywhere }
"""
