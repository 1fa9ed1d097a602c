"""Whether a mask was learned on what is in use here: another model, or another revision of it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from rlkv.hub.cached import cached_commit, is_other
from rlkv.hub.names import split_revision
from rlkv.masks import HeadMask
from ui import catalogue
from ui.engine import MODEL
from ui.studio import Studio


def in_use(studio: Studio) -> tuple[str, ...]:
    """The models that are loaded; the embedded one always is, or will be in a moment."""
    return (MODEL, *studio.engines.in_memory())


def commit_here(studio: Studio, model: str) -> str:
    """The commit of a model on this machine; "" where it is not here, or not for visitors."""
    return cached_commit(model) if studio.settings.allows(model) else ""


def difference(studio: Studio, mask: HeadMask, model: str) -> str:
    """One sentence where a mask was learned on something else than `model` as it is here."""
    name = f"“{mask.name or 'This mask'}”"
    if mask.model and split_revision(mask.model)[0] != split_revision(model)[0]:
        return f"{name} was learned on {mask.model}: expect less of it here."
    if mask.model and is_other(mask.revision, commit := commit_here(studio, model)):
        return (
            f"{name} was learned on revision {mask.revision[:12]} of this model; here it is "
            f"{commit[:12]}."
        )
    return ""


def mask_hint(studio: Studio, keys: Iterable[Any], model: str) -> str:
    """HTML for the masks that are chosen, each told of once; "" where all were learned on this."""
    chosen = dict.fromkeys(key for key in keys if isinstance(key, str) and key)
    found = [(key, catalogue.find(studio, key)) for key in chosen]
    said = [difference(studio, one.mask, model) for key, one in found if one and one.key == key]
    return "".join(f'<p class="warn" role="status">{escape(words)}</p>' for words in said if words)
