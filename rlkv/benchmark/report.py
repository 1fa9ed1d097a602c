"""The results as files: numbers as JSON, charts as one page that needs no network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlkv.benchmark.rows import Row

JSON_NAME, PAGE_NAME = "bench.json", "bench.html"

STYLE = """
:root { color-scheme: light; }
html { overflow-y: scroll; } /* charts are drawn while the page is still short */
body { margin: 0; background: #f6f5f1; color: #171a20;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1360px; margin: 0 auto; padding: 28px 20px 40px; }
h1 { margin: 0 0 4px; font-size: 26px; }
h2 { margin: 0; font-size: 17px; }
p { margin: 2px 0 0; color: #5a616e; }
section p { font-size: 13px; }
.bar { display: flex; flex-wrap: wrap; gap: 8px 18px; align-items: center; margin: 18px 0; }
.key { display: inline-flex; align-items: center; gap: 7px; }
.key i { width: 20px; height: 4px; border-radius: 2px; }
.key i.thin { height: 0; border-top: 2px dotted #171a20; border-radius: 0; }
select { font: inherit; padding: 8px 10px; border: 1px solid #cfccc2; border-radius: 6px;
  background: #fff; color: inherit; max-width: 100%; }
.charts { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
section { background: #fff; border-radius: 8px; padding: 16px 14px 8px; min-width: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 24px 0 0;
  font-size: 13px; }
dt { color: #5a616e; }
dd { margin: 0; overflow-wrap: anywhere; }
"""

SCRIPT = """
document.getElementById("setting")?.addEventListener("change", (event) => {
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    const visible = plot.data.map((trace) => trace.meta === event.target.value);
    Plotly.restyle(plot, { visible });
  }
});
"""


def write_json(folder: Path, result: Mapping[str, Any]) -> Path:
    """Writes `bench.json`; returns its path."""
    path = folder / JSON_NAME
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def write_page(folder: Path, rows: Sequence[Row], facts: Mapping[str, object]) -> Path:
    """Writes `bench.html` with a chart for each thing measured; returns its path.

    Args:
        facts: what the page tells at its end about model, machine and command.
    """
    path = folder / PAGE_NAME
    path.write_text(page(rows, facts), encoding="utf-8")
    return path


def page(rows: Sequence[Row], facts: Mapping[str, object]) -> str:
    """The whole page; Plotly's script is in it."""
    from rlkv.benchmark.charts import charts, figure

    settings = list(dict.fromkeys(row.setting for row in rows))
    sections = []
    for number, chart in enumerate(charts(rows)):
        drawn = figure(chart, rows, settings[0]).to_html(
            full_html=False,
            include_plotlyjs=number == 0,
            div_id=f"chart-{chart.key}",
            config={"displayModeBar": False, "responsive": True},
        )
        head = f"<h2>{html.escape(chart.title)}, {chart.unit}</h2><p>{html.escape(chart.note)}</p>"
        sections.append(f"<section>{head}{drawn}</section>")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>KV cache: memory and speed</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>KV cache: memory and speed</h1>
<p>{html.escape(str(facts.get("model", "")))} on {html.escape(str(facts.get("device", "")))}</p>
<div class="bar">{_choice(settings)}{_legend(rows)}</div>
<div class="charts">{"".join(sections)}</div>
{_facts(facts)}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _choice(settings: Sequence[str]) -> str:
    if len(settings) == 1:
        return f"<span>{html.escape(settings[0])}</span>"
    options = "".join(f"<option>{html.escape(each)}</option>" for each in settings)
    return f'<select id="setting" aria-label="Batch, sparsity and dtype">{options}</select>'


def _legend(rows: Sequence[Row]) -> str:
    """One for all charts."""
    from rlkv.benchmark.charts import COLOURS, MUTED
    from rlkv.benchmark.tables import contender_names

    told = {"split": "split (ours, under the mask)", "full": "full (ours, every head kept)"}
    keys = [
        f'<span class="key"><i style="background:{COLOURS.get(name, MUTED)}"></i>'
        f"{html.escape(told.get(name, name))}</span>"
        for name in contender_names(rows)
    ]
    keys.append('<span class="key"><i class="thin"></i>expected</span>')
    return "".join(keys)


def _facts(facts: Mapping[str, object]) -> str:
    lines = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in facts.items()
    )
    return f"<dl>{lines}</dl>"
