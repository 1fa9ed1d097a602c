"""Rows as Markdown, one table for each thing measured: contenders stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlkv.benchmark.rows import Numbers, Row

KEYS = ("context", "batch", "sparsity", "dtype")


def tables(rows: Sequence[Row]) -> str:
    """All tables that have something to show, with their units in their titles.

    A dash is what could not be measured.
    """
    names = contender_names(rows)
    shown = [
        _by_contender("KV cache, MB", rows, names, lambda n: _mega(n.kv_bytes), formula=True),
        _by_contender("Decode tok/s", rows, names, lambda n: f"{n.decode_tokens_per_s:.1f}"),
        _attention(rows),
    ]
    if any(row.peak_bytes is not None for row in rows):
        shown.insert(
            1, _by_contender("Peak memory, MB", rows, names, lambda n: _mega(n.peak_bytes))
        )
    if any(row.prefill_tokens_per_s is not None for row in rows):
        prefill = _by_contender(
            "Prefill tok/s", rows, names, lambda n: _whole(n.prefill_tokens_per_s)
        )
        shown.insert(-1, prefill)
    return "\n\n".join(shown)


def contender_names(rows: Sequence[Row]) -> list[str]:
    """Everyone who takes part in some row, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.by_contender))


def _by_contender(
    title: str,
    rows: Sequence[Row],
    names: Sequence[str],
    cell: Callable[[Numbers], str],
    formula: bool = False,
) -> str:
    head = [*KEYS, *(["formula"] if formula else []), *names]
    lines = []
    for row in rows:
        numbers = row.by_contender
        cells = [cell(numbers[name]) if name in numbers else "-" for name in names]
        lines.append(_keys(row) + ([_mega(row.kv_bytes_formula)] if formula else []) + cells)
    return _table(title, head, lines)


def _attention(rows: Sequence[Row]) -> str:
    head = [*KEYS, "split", "full", "speed-up", "ideal"]
    lines = [
        [
            *_keys(row),
            f"{row.decode_attention_s * 1e3:.2f}",
            f"{row.decode_attention_s_full * 1e3:.2f}",
            f"{row.attention_speedup:.2f}",
            f"{row.attention_speedup_ideal:.2f}",
        ]
        for row in rows
    ]
    return _table("Attention of a decoded token, ms", head, lines)


def _keys(row: Row) -> list[str]:
    return [str(row.context), str(row.batch), f"{row.sparsity:.2f}", row.dtype]


def _whole(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}"


def _mega(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.1f}"


def _table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Padded, so that it is readable before it is rendered."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rule = ["-" * (width - 1) + ":" for width in widths]
    shown = []
    for cells in (head, rule, *lines):
        padded = (text.rjust(width) for text, width in zip(cells, widths, strict=True))
        shown.append(f"| {' | '.join(padded)} |")
    return "\n".join([f"**{title}**", "", *shown])
