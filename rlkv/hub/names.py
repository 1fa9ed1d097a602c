"""Names on the Hub: of repositories, and of what a mask is found by."""

from __future__ import annotations

import re
from pathlib import Path

from rlkv.errors import UserError

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
TAGS = ("rlkv", "kv-cache", "kv-cache-compression", "attention-heads", "head-mask")
KIND = ("rlkv", "head-mask")
"""The tags that a head mask of ours is found by."""


def require_repo(name: str) -> str:
    """The repository's name, without blanks around it.

    Raises:
        UserError: if it is none.
    """
    repo = name.strip().removeprefix("https://huggingface.co/").strip("/")
    if not REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise UserError(f"'{name[:100]}' is no repository: write it as owner/name.")
    return repo


def is_on_hub(model: str) -> bool:
    """Whether a model's reference is a Hub id and not a folder or file of this machine."""
    return bool(REPO.fullmatch(model)) and not model.endswith(".gguf") and not Path(model).exists()


def model_tag(model: str) -> str:
    """What masks of a model are tagged with: the Hub's own tag, or ours for the embedded model."""
    return f"base_model:{model}" if is_on_hub(model) else f"rlkv-model-{public_name(model)}"


def public_name(model: str) -> str:
    """A model's reference with nothing of this machine's folders in it."""
    if is_on_hub(model) or not model:
        return model
    last = re.split(r"[/\\]", model.rstrip("/\\"))[-1]
    return re.sub(r"[^\w.:-]", "-", last)[:80]
