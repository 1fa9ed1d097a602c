"""The endpoint that answers a question with the full cache, under a mask, or both side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from ui import zero_gpu
from ui.api.answers import Answer, Side
from ui.api.masks import cut, entry_of, number
from ui.catalogue import SHIPPED
from ui.chat.plan import question_of
from ui.engine import LONGEST_PROMPT, MODEL
from ui.heavy import heavy
from ui.models.allowed import require_allowed
from ui.studio import Studio

if TYPE_CHECKING:
    from rlkv.dialogue import Frame

EVERY_S = 0.1
"""How often a state is sent; the embedded model writes hundreds of tokens a second."""
SIDES = {"both": ("full", "compressed"), "full": ("full",), "compressed": ("compressed",)}


class GeneratingEndpoints:
    """Stands in line with the chats of the pages: one model runs at a time."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def generate(
        self,
        prompt: str,
        mask: str = SHIPPED,
        sides: str = "both",
        sparsity: float = -1,
        model: str = "",
        max_new_tokens: int = 256,
        temperature: float = 0,
        top_p: float = 1,
        seed: int = 0,
        system: str = "",
    ) -> Iterator[Answer]:
        """Answers a question, streamed: with the full cache, under a mask, or both in lockstep.

        Args:
            prompt: The question.
            mask: Key or link text of a mask.
            sides: Who answers: both, full or compressed.
            sparsity: Share of KV heads to compress, 0 to 1; -1 for the mask's own cut.
            model: Empty for the one that the mask was learned on.
            max_new_tokens: Longest answer, in tokens.
            temperature: 0 is greedy.
            top_p: Draw from the likeliest tokens of this mass.
            seed: Seed of the drawing, the same for both sides.
            system: A system message, for models whose template takes one.
        """
        if not isinstance(sides, str) or sides not in SIDES:
            raise UserError(f"sides has to be one of {', '.join(SIDES)}.")
        entry = entry_of(self._studio, mask)
        # A link knows no model; the embedded one is what every copy of the app has.
        ref = str(model or "").strip() or entry.mask.model or MODEL
        require_allowed(self._studio, ref)
        chosen = cut(entry.mask, sparsity)
        settings = self._studio.settings
        question = question_of(prompt, ref, settings.longest_prompt)
        longest = int(number(max_new_tokens, "max_new_tokens", 1, settings.longest_answer))
        heat, mass = number(temperature, "temperature", 0, 5), number(top_p, "top_p", 0.01, 1)
        drawn = int(number(seed, "seed", 0, 2**31 - 1))
        with self._studio.lease(ref) as loaded:
            dialogue = heavy("rlkv.dialogue")
            sampling = dialogue.Sampling(longest, heat, mass, drawn)
            specs = _specs(dialogue, SIDES[sides], chosen, question, str(system or ""))
            frames = zero_gpu.converse(ref, loaded, specs, sampling)
            with closing(frames):
                for frame, done in _now_and_then(frames):
                    yield {
                        "model": ref,
                        "mask": entry.key,
                        "sparsity": round(chosen.sparsity, 6),
                        "done": done,
                        "sides": _sides(SIDES[sides], frame),
                    }


def _specs(
    dialogue: Any, names: tuple[str, ...], mask: HeadMask, question: str, system: str
) -> list[Any]:
    said = [dialogue.Message("system", system.strip()[:LONGEST_PROMPT])] if system.strip() else []
    history = (*said, dialogue.Message("user", question))
    return [dialogue.SideSpec(None if name == "full" else mask, history) for name in names]


def _now_and_then(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Some of the frames, and the last one for certain; whether it is that."""
    sent, last = float("-inf"), None
    for frame in frames:
        last = frame
        if time.monotonic() - sent >= EVERY_S:
            sent = time.monotonic()
            yield frame, False
    if last is not None:
        yield last, True


def _sides(names: tuple[str, ...], frame: Frame) -> list[Side]:
    has_full = names[0] == "full"
    return [
        {
            "side": name,
            "text": state.text,
            "tokens": state.n_tokens,
            "prompt_tokens": state.prompt_tokens,
            "kv_bytes": state.kv_bytes,
            "tokens_per_second": round(state.tokens_per_second, 2),
            "stop": state.stop_reason,
            "agrees": frame.common_prefix(place) if has_full and place else None,
        }
        for place, (name, state) in enumerate(zip(names, frame.sides, strict=True))
    ]
