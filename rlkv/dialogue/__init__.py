"""One conversation with one model under up to four masks at once, streamed in lockstep.

    for frame in converse(model, tokenizer, [SideSpec(None, history), SideSpec(mask, history)],
                          Sampling(200)):
        full, compressed = frame.sides

`converse` and `Keeper` are imported on first use, so that pages can name the rest without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlkv.dialogue.control import Control
from rlkv.dialogue.frame import Break, Difference, Frame, SideState, Tokens, TokenSeen
from rlkv.dialogue.message import Message, SideSpec

if TYPE_CHECKING:
    from rlkv.dialogue.keeper import Keeper
    from rlkv.dialogue.lockstep import converse
    from rlkv.generation import Sampling

__all__ = [
    "Break",
    "Control",
    "Difference",
    "Frame",
    "Keeper",
    "Message",
    "Sampling",
    "SideSpec",
    "SideState",
    "TokenSeen",
    "Tokens",
    "converse",
]

_HOMES = {
    "Keeper": "rlkv.dialogue.keeper",
    "Sampling": "rlkv.generation",
    "converse": "rlkv.dialogue.lockstep",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rlkv.dialogue' has no attribute '{name}'")
