"""LongRoPE: models that turn all their keys otherwise once a text is long.

Phi-3's long versions choose between two sets of rotary frequencies by the length of the whole text.
A cache holds keys that are turned already, so it can't cross from one set to the other.
"""

from __future__ import annotations

from transformers import PreTrainedConfig

from rlkv.errors import UserError


def turns_at(config: PreTrainedConfig) -> int | None:
    """The longest text, in tokens, under the first set of frequencies; None for one set only."""
    decoder = config.get_text_config(decoder=True)
    rope = getattr(decoder, "rope_parameters", None) or {}
    # One dictionary, or one for each kind of layer.
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]
    lengths = [
        int(kind["original_max_position_embeddings"])
        for kind in kinds
        if kind.get("rope_type") == "longrope"
    ]
    return min(lengths, default=None)


def require_unturned(limit: int | None, before: int, after: int) -> None:
    """Asked when a cache of `before` tokens is fed until it has seen `after`.

    A text that is read in one pass may be longer, and go on: its keys are all of the second set.

    Raises:
        UserError: if the text grows beyond `limit` (`turns_at`) with keys of the first set.
    """
    if limit is not None and 0 < before <= limit < after:
        raise UserError(
            f"Beyond {limit:,} tokens this model turns all its keys otherwise (LongRoPE), and "
            "those in the cache can't follow: keep prompt and answer shorter."
        )
