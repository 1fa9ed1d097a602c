"""Which commit of a model the Hub's cache of this machine holds. Asks nobody and needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from rlkv.hub.names import is_on_hub


def cached_commit(model: str) -> str:
    """The commit that loading `model` takes without a network; "" where there is none."""
    from huggingface_hub import constants

    if not is_on_hub(model):
        return ""
    cache = Path(os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE)
    try:
        return (cache / f"models--{model.replace('/', '--')}" / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        return ""


def is_other(revision: str, commit: str) -> bool:
    """Whether two revisions are known and differ; a short one stands for every commit that begins
    with it."""
    return bool(revision and commit) and not commit.startswith(revision)
