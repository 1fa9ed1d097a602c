"""Names and words of what is measured of every head; needs no torch."""

from __future__ import annotations

from typing import NamedTuple


class Measure(NamedTuple):
    """A number per head."""

    title: str
    what: str
    """One sentence for people."""


MEASURES: dict[str, Measure] = {
    "far": Measure(
        "Attention to far tokens",
        "Share of its attention on tokens that a compressed head could not see.",
    ),
    "induction": Measure(
        "Induction",
        "On random tokens that come twice: attention from the second time to what followed the "
        "first time.",
    ),
    "retrieval": Measure(
        "Retrieval",
        "Where the answer repeats a far token: how often the head looks most at exactly that "
        "token.",
    ),
    "reward_gradient": Measure(
        "Gradient of the reward",
        "How much likelier right answers get as the head's gate opens, starting from the full "
        "cache.",
    ),
    "sink": Measure("Attention to sinks", "Share of its attention on the first tokens."),
    "recent": Measure("Attention to the recent window", "Share of its attention on the latest."),
}
"""All columns that are measured, by key. The first four are rankings (`rlkv.explore.rankings`)."""
