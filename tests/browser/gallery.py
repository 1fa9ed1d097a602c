"""A page with one of each widget on made-up values: what the tests of the widgets point at.

python -m tests.browser.gallery PORT FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from tests.browser.conftest import ROOT, START_SECONDS, free_port
from ui.components.charts import bars_value, chart, line, lines_value, series, stack_value
from ui.components.header import html
from ui.components.tokens import kl_tokens, tokens, tokens_value
from ui.glossary import term
from ui.shell import launch_options

HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"
TEXT = ["=SUM(A1)", " b", "\n", "\t", HOSTILE, *(f" w{i}" for i in range(5, 40))]
WINDOW = (2, 6)
QUERY = 30
STEPS = [(0, 0.1), (10, 0.4), (20, 0.35)]
LONG = 1024


def pattern(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Random attention [count, count]; each row sums to one."""
    weights = np.tril(np.random.default_rng(seed).random((count, count)) ** 8)
    result: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return result


def build() -> gr.Blocks:
    """The page, not launched."""
    with gr.Blocks() as app:
        html(f"<p>About {term('gate', 'gates')} and {term('sink', 'sinks')}.</p>")
        bars = chart(_bars(1.0), "bars")
        more = gr.Button("More", elem_id="more")
        more.click(lambda: _bars(2.0), None, bars)
        lines = [
            line("gate", "full", STEPS),
            line("reward", "reward", [(0, 1), (20, 9)], right=True),
        ]
        chart(lines_value(HOSTILE, lines, x="step", y="gate", y2="reward", name="../a b"), "lines")
        dotted = [line("trained", "reward", STEPS), line("deployed", "reward", STEPS, dots=True)]
        chart(lines_value("Dotted", dotted, x="step", name="dotted"), "dotted")
        chart(stack_value("Looks", [("sinks", "sink"), ("far", "far")], [0.25, 0.75]), "stack")
        text = tokens(
            tokens_value(
                "Text", TEXT, pattern=pattern(len(TEXT)), window=WINDOW, query=QUERY,
                tips=["tip of " + t for t in TEXT], name="text",
            ),
            "text",
        )  # fmt: skip
        said = gr.Textbox(label="picked", elem_id="picked")
        text.pick(_picked, None, said)
        kl = [0.0] * 7 + [2.5, 0.3]
        tops = [("x", 0.5)] * 9
        tokens(kl_tokens("KL", TEXT[:9], kl, before=tops, after=tops, first_changed=7), "kl")
        long = [f" w{i}" for i in range(LONG)]
        tokens(
            tokens_value("Long", long, pattern=pattern(LONG), window=(4, 64), height=300), "long"
        )
    return app


@contextmanager
def serve(folder: Path, module: str = "tests.browser.gallery") -> Iterator[str]:
    """Runs this page, or another module's, in a process of its own; -> its address."""
    port = free_port()
    command = [sys.executable, "-m", module, str(port), str(folder)]
    app, end = subprocess.Popen(command, cwd=ROOT), time.monotonic() + START_SECONDS
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            assert app.poll() is None, f"{module} ended with {app.returncode}"
            assert time.monotonic() < end, f"no answer from {url}"
            time.sleep(0.2)
        yield url
    finally:
        app.terminate()
        app.wait(20)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except OSError:
        return False
    return True


def _bars(scale: float) -> dict[str, object]:
    parts = [
        series("recent", "recent", [0.1 * scale, 0.2 * scale, 0.0]),
        series("far", "far", [0.0, 0.1 * scale, 0.3 * scale]),
    ]
    return bars_value("Bars", parts, ["near", "mid", "far"], x="distance", unit="%")


def _picked(event: gr.EventData) -> str:
    return f"picked {event._data['index']}"


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    build().launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), **launch_options(folder))
