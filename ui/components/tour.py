"""The tour for newcomers: what a page points at and what it says; shown by `static/tour.js`.

Knows words and selectors. A stop whose element is not on the page is left out, so a page may
change without breaking its tour.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import gradio as gr


@dataclass(frozen=True)
class Stop:
    """One thing that the tour points at."""

    selector: str
    """CSS; the first element that is visible is meant."""
    title: str
    words: str


@dataclass(frozen=True)
class Onward:
    """Where the last stop's button leads."""

    label: str
    href: str


STOPS: dict[str, list[Stop]] = {
    "Overview": [
        Stop(
            "#overview-map",
            "The model's memory, head by head",
            "Every cell is one KV head: a layer's memory for a group of attention heads. Blue "
            "ones were found to need the whole past, orange ones get by on a few tokens.",
        ),
        Stop(
            "#recording",
            "Less memory, same question",
            "The same model answers twice: on the left with all of its memory, on the right with "
            "only the outlined heads' memory growing. The curves are bytes really held.",
        ),
        Stop(
            '.top nav a[href="./heads"]',
            "Now look inside",
            "The Heads page is where you explore: cut the mask elsewhere, open single heads, "
            "change the choice yourself.",
        ),
    ],
    "Heads": [
        Stop(
            "#map .hm-svg",
            "A cell is a KV head",
            "Layers go down, KV heads across. Blue heads need the whole past, orange ones get by "
            "with a few tokens. Point at a cell for its numbers.",
        ),
        Stop(
            "#sparsity",
            "The cut",
            "The slider says what share of heads is compressed. Heads above the cut are outlined "
            "and keep a full cache; see how much memory is saved.",
        ),
        Stop(
            "#panel",
            "One head",
            "Click a cell, or walk there with the arrow keys: its gate, its rank and what its "
            "memory costs appear here.",
        ),
        Stop(
            "#edit",
            "Change the choice",
            "With Edit on, drag over cells to keep or compress them. Everything can be undone, "
            "and your version saved as a mask of its own.",
        ),
        Stop(
            "#head-page",
            "What does it do?",
            "Each head has a page: where it looks in a text of yours, and what compressing this "
            "one head does to an answer.",
        ),
        Stop(
            '.top nav a[href="./chat"]',
            "Try it",
            "In the chat, the full and the compressed model answer side by side while you watch "
            "the memory of each.",
        ),
    ],
    "Head": [
        Stop(
            "#head-map .hm-svg",
            "Where this head sits",
            "Click another cell, or walk with the arrow keys: the whole page follows, and its "
            "address with it.",
        ),
        Stop(
            "#look-tokens",
            "Where it looks",
            "Point at a token to see where the head looks from there. Hatched tokens are far: "
            "compressed, the head could not see them.",
        ),
        Stop(
            "#change-tokens",
            "What it does",
            "The answer is read with and without this head's far past. Coloured tokens are where "
            "the prediction moves.",
        ),
        Stop(
            '.top nav a[href="./finder"]',
            "All heads at once",
            "The finder sorts and filters every head by what was learned and what was measured.",
        ),
    ],
    "Chat": [
        Stop(
            "#talk",
            "Both answers, token by token",
            "The same question, seed and sampling on both sides. The first token that differs is "
            "marked; point at a token to see what each side thought of it.",
        ),
        Stop(
            "#memory",
            "What each cache really holds",
            "Measured bytes for every token, with the formula as a thin line, and how many such "
            "chats would fit into a memory of your choice.",
        ),
        Stop(
            "#sparsity",
            "Go further",
            "Compress more heads, between two questions or in the middle of an answer, and watch "
            "where it breaks.",
        ),
        Stop(
            '.top nav a[href="./evaluate"]',
            "One chat proves little",
            "Evaluate asks hundreds of problems and draws accuracy against memory.",
        ),
    ],
    "Evaluate": [
        Stop(
            "#accuracy",
            "How far can you compress?",
            "Accuracy against the share of heads compressed, with intervals. Switch the axis to "
            "the KV bytes that were really held; click a name to hide its curve.",
        ),
        Stop(
            "#points",
            "Every point in numbers",
            "Choose two of them and read any pair of answers side by side, the wrong ones first.",
        ),
        Stop(
            "#eval-methods",
            "What the mask is compared with",
            "Random masks, other rankings, DuoAttention's training, and methods that drop tokens "
            "at the same bytes.",
        ),
    ],
    "Masks": [
        Stop(
            "#shelf",
            "Your masks",
            "Every mask is a few kilobytes: take it away as files, send it as a link, put it on "
            "the Hub, compare two or average several seeds.",
        ),
        Stop(
            "#import",
            "Those of others",
            "Drop a file here. You see what it holds and what model it fits before anything is "
            "kept.",
        ),
    ],
}
ONWARD = {"Overview": Onward("Go to Heads", "./heads?tour=1")}

_JS = """
const start = () => window.rlkvTour ? rlkvTour.offer(props.value) : setTimeout(start, 30);
start();
"""

TOUR_BUTTON = (
    '<button class="theme tour-button" type="button" title="Take the tour" '
    'aria-label="Take the tour" onclick="window.rlkvTour.start()">?</button>'
)
"""For the header: starts the tour of the page it is on."""


def tour(page: str) -> None:
    """Adds the tour of `page` to the open Blocks: an invitation on a first visit, no more."""
    onward = ONWARD.get(page)
    value = {
        "page": page,
        "stops": [asdict(stop) for stop in STOPS[page]],
        "onward": asdict(onward) if onward else None,
    }
    gr.HTML(
        value,
        html_template='<div class="tour-root"></div>',
        js_on_load=_JS,
        apply_default_css=False,
        elem_classes="tour-box",
    )
