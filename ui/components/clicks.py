"""Clicks on the cells of a Plotly heatmap, which `gr.Plot` itself does not report."""

from __future__ import annotations

from typing import Any

import gradio as gr

_LISTEN = """
const bind = () => {
  const plot = document.querySelector('#' + props.target + ' .js-plotly-plot');
  if (!plot || !plot.on || plot.rlkvPicks) return;
  plot.rlkvPicks = true;
  plot.on('plotly_click', event => {
    const point = event.points[0];
    trigger('pick', {layer: point.y, head: point.x});
  });
};
new MutationObserver(bind).observe(document.body, {childList: true, subtree: true});
bind();
"""


def plot_clicks(target: str) -> gr.HTML:
    """An invisible bridge: fires `pick` with the layer and head of the clicked cell.

    `target` is the element id of the `gr.Plot`. Plotly's own node and its public `on` are used,
    so no second copy of Plotly is needed. The handler survives updates of the figure.
    """
    return gr.HTML("", html_template="", js_on_load=_LISTEN, target=target, visible="hidden")


def picked(event: gr.EventData, shape: tuple[int, int]) -> tuple[int, int] | None:
    """The (layer, head) that an event names, or None if there is no such head.

    Any client can send any event data, so nothing of it is taken on trust.
    """
    data = getattr(event, "_data", None)
    if not isinstance(data, dict):
        return None
    layer: Any = data.get("layer")
    head: Any = data.get("head")
    if not (_is_index(layer, shape[0]) and _is_index(head, shape[1])):
        return None
    return int(layer), int(head)


def _is_index(value: object, size: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size
