"""What the Hub's cache of this machine holds of a model. Asks nobody and needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from rlkv.hub.names import is_on_hub, split_revision


def cached_file(model: str, name: str) -> str | None:
    """Where a file of a Hub model lies, at the revision that its reference names; None if nowhere.

    Raises:
        HFValidationError: if the reference is no id of the Hub's.
    """
    from huggingface_hub import try_to_load_from_cache

    repo, revision = split_revision(model)
    folder = os.environ.get("HF_HUB_CACHE")
    found = try_to_load_from_cache(repo, name, cache_dir=folder, revision=revision)
    return found if isinstance(found, str) else None


def cached_commit(model: str) -> str:
    """The commit that loading `model` reads without a network; "" where there is none."""
    try:
        found = cached_file(model, "config.json") if is_on_hub(model) else None
    except (OSError, ValueError):
        return ""
    return Path(found).parent.name if found else ""  # .../snapshots/COMMIT/config.json


def is_other(revision: str, commit: str) -> bool:
    """Whether two revisions are known and differ; a short one stands for every commit that begins
    with it."""
    return bool(revision and commit) and not commit.startswith(revision)
