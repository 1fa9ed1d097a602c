"""The picker's HTML: a line of facts about a model, and a line about how it stands with it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from rlkv.headroom import gigabytes
from rlkv.known_models import KnownModel
from ui.engine import Status
from ui.units import NOT_YET, duration

if TYPE_CHECKING:
    from rlkv.model_facts import ModelFacts

PLACES = {
    "embedded": "comes with the app",
    "random": "made of random numbers",
    "folder": "a folder here",
    "file": "a file here",
    "cache": "on this machine",
}
CHAT_TOKENS = 4_096
"""Of a chat whose cache is counted in, where the model reads as many."""
BUSY = ("checking", "loading", "unloading")


def facts_line(
    known: KnownModel | None, facts: ModelFacts | None, status: Status, *, room: bool = True
) -> str:
    """HTML of what is known: written facts at once, memory and place when they have been read.

    `room`: whether to say if there is memory to load it; training asks for more, and says so.
    """
    shape = facts or known
    if shape is None:
        return '<p class="note">Looking at it&hellip;</p>'
    cells = [
        ("parameters", "Parameters", count_text(shape.parameters)),
        ("gates", "Gates", f"{shape.layers} x {shape.kv_heads} = {shape.layers * shape.kv_heads}"),
        ("context", "Context", f"{shape.context:,} tokens"),
        ("memory", "Weights", _weights(facts)),
        ("place", "Where", _place(facts)),
        ("need", "Memory needed", _need(facts, status, room)),
    ]
    shown = "".join(
        f'<div><dt>{name}</dt><dd data-fact="{key}">{escape(value)}</dd></div>'
        for key, name, value in cells
    )
    return f'<dl class="model-facts">{shown}</dl>{_warning(facts, status, room)}'


def refused_line(words: str) -> str:
    """HTML in place of facts: why there are none."""
    return f'<p class="warn">{escape(words)}</p>'


def state_line(status: Status) -> str:
    """HTML of the state, with a bar while something is under way."""
    return (
        f'<div class="model-state" data-state="{status.state}" role="status">'
        f"<span>{_state_words(status)}</span>{_bar(status)}</div>"
    )


def count_text(count: int) -> str:
    """`134515008 -> "135 million"`."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} billion"
    return f"{count / 1e6:.0f} million" if count >= 1e7 else f"{count / 1e6:.1f} million"


def _weights(facts: ModelFacts | None) -> str:
    return NOT_YET if facts is None else f"{gigabytes(facts.weights)} in {facts.dtype}"


def _need(facts: ModelFacts | None, status: Status, room: bool) -> str:
    """What loading takes for a while, then what it takes with the cache of one chat."""
    if facts is None:
        return NOT_YET
    tokens = min(CHAT_TOKENS, facts.context)
    kept = (
        f"{gigabytes(facts.weights + facts.kv_bytes(tokens))} with {tokens:,} tokens of full cache"
    )
    if status.state == "ready":
        return f"{kept}; loaded"
    need = f"{gigabytes(facts.need)} to load, {kept}"
    return f"{need}: {'fits' if facts.fits() else 'does not fit'}" if room else need


def _place(facts: ModelFacts | None) -> str:
    if facts is None:
        return NOT_YET
    if facts.place == "hub":
        return f"a download of {gigabytes(facts.download)}" if facts.download else "on the Hub"
    return PLACES[facts.place]


def hindrances(facts: ModelFacts) -> str:
    """What keeps a model from being loaded, known before anybody tries; "" if nothing does."""
    return " ".join(filter(None, [facts.obstacle, facts.shortage()]))


def _warning(facts: ModelFacts | None, status: Status, room: bool) -> str:
    if facts is None or status.state in ("ready", *BUSY):
        return ""
    words = hindrances(facts) if room else facts.obstacle
    return refused_line(words) if words else ""


def _state_words(status: Status) -> str:
    took = f" · {duration(status.seconds)}" if status.state in BUSY and status.seconds else ""
    if status.state == "ready":
        used = f", used by {status.leases} now" if status.leases else ""
        return f"Loaded{used}"
    if status.state == "absent":
        return "Not loaded"
    return f"{escape(status.words)}{took}"


def _bar(status: Status) -> str:
    if status.state not in BUSY:
        return ""
    if status.share is None:
        return '<i class="meter unknown"><i></i></i>'
    percent = f"{100 * status.share:.0f}"
    return (
        f'<i class="meter" role="progressbar" aria-label="Downloaded" aria-valuenow="{percent}">'
        f'<i style="width:{percent}%"></i></i>'
    )
