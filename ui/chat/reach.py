"""How many tokens of prompt and answer a model is given on the chat page."""

from __future__ import annotations

from rlkv.known_models import known
from ui.engine import MODEL
from ui.studio import Studio

BEYOND = 32_768
"""What the embedded model is given, though it was trained on less: its positions are computed, and
what is looked at there is the memory. More would take a CPU too long."""
BEYOND_WORDS = "beyond what this model was trained on: look at the memory, not at the words"
UNUSUAL_WORDS = (
    "It was trained on problems of about 60 tokens: look at the memory, not at the words."
)


def trained_on() -> int:
    """Tokens that the embedded model was made for."""
    own = known(MODEL)
    assert own is not None
    return own.context


def reach(studio: Studio, model: str, context: int) -> int:
    """Tokens that can be filled and answered, of a model that was trained on `context`; a visitor
    of a shared copy gets no more than its owner allows."""
    return min(BEYOND if model == MODEL else context, studio.settings.longest_prompt)


def beyond(studio: Studio, model: str) -> int | None:
    """The context to answer in where that is not the model's own, else None."""
    if model != MODEL:
        return None
    return max(trained_on(), reach(studio, model, trained_on()))
