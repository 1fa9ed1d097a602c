"""A slider whose number box may hold anything: a person types there, and may be half-way.

Gradio's own answers a number beyond its ends, or none, with an error and a trace in the log.
"""

from __future__ import annotations

import math

from gradio import Slider

__all__ = ["Slider"]


def _taken(self: Slider, payload: object) -> float | None:
    """A number beyond the ends as the nearest end; None for what is no number."""
    if isinstance(payload, bool) or not isinstance(payload, int | float) or math.isnan(payload):
        return None
    return float(min(max(payload, self.minimum), self.maximum))


# On Gradio's class: it writes a file beside the source of every subclass, and makes a slider anew
# from its class for each visitor to whom it has sent a value.
Slider.preprocess = _taken  # type: ignore[assignment, method-assign]
