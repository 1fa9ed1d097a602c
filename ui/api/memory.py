"""The endpoint that tells what a model and its KV cache take, before anything is loaded."""

from __future__ import annotations

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from ui.api.answers import Memory
from ui.api.masks import cut, entry_of, number
from ui.engine import MODEL
from ui.heavy import heavy
from ui.models.allowed import require_allowed
from ui.models.facts import facts_of
from ui.studio import Studio

PATIENCE_S = 60.0
"""Importing torch and reading a quantised file's header take a while."""
LONGEST, MOST_ROWS = 100_000_000, 100_000


class MemoryEndpoints:
    """Nothing here loads a model."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def estimate_memory(
        self,
        model: str = MODEL,
        mask: str = "",
        length: int = 4096,
        sparsity: float = -1,
        batch: int = 1,
    ) -> Memory:
        """Estimates the memory of a model and of its KV cache, full and under a mask.

        Args:
            model: tracer, a Hub id, a folder or a .gguf file of the app's machine.
            mask: Key or link text of a mask; empty for the full cache alone.
            length: Tokens in the cache.
            sparsity: Share of KV heads to compress, 0 to 1; -1 for the mask's own cut.
            batch: Rows in the cache.
        """
        ref = str(model or "").strip() or MODEL
        require_allowed(self._studio, ref)
        tokens = int(number(length, "length", 1, LONGEST))
        rows = int(number(batch, "batch", 1, MOST_ROWS))
        facts = facts_of(ref, PATIENCE_S)
        if facts is None:
            raise UserError(f"'{ref}' is still being looked at: ask again in a moment.")
        chosen = cut(entry_of(self._studio, mask).mask, sparsity) if mask else None
        if chosen is not None:
            chosen.require_shape(facts.layers, facts.kv_heads, f"'{ref}'")
        spec = heavy("rlkv.models").read_spec(ref)
        full = HeadMask.full(facts.layers, facts.kv_heads)
        whole = int(spec.kv_bytes(full, tokens, rows))
        less = None if chosen is None else int(spec.kv_bytes(chosen, tokens, rows))
        return {
            "model": ref,
            "parameters": facts.parameters,
            "dtype": facts.dtype,
            "device": facts.device,
            "weights_bytes": facts.weights,
            "loading_bytes": facts.loading,
            "download_bytes": facts.download,
            "context": facts.context,
            "fits": facts.fits() and not facts.obstacle,
            "obstacle": facts.obstacle or facts.shortage(),
            "kv_bytes_full": whole,
            "kv_bytes_compressed": less,
            "kv_saved": None if less is None else 1 - less / whole,
            "sparsity": None if chosen is None else round(chosen.sparsity, 6),
        }
