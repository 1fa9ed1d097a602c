"""Names on the Hub: of repositories, and of what a mask is found by."""

from __future__ import annotations

import re
from pathlib import Path

from rlkv.errors import UserError

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9][\w.-]{0,99}(/[\w-][\w.-]{0,99}){0,3}", re.ASCII)
"""A branch, a tag, `refs/pr/1`, or a commit's whole hash."""
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


def split_revision(model: str) -> tuple[str, str | None]:
    """`("org/model", "v1")` of `org/model@v1`; any other reference as it is, and None."""
    repo, _, revision = model.partition("@")
    if REPO.fullmatch(repo) and REVISION.fullmatch(revision) and not Path(model).exists():
        return repo, revision
    return model, None


def at_revision(model: str, revision: str) -> str:
    """The reference of a model at a revision; as it is where it is not on the Hub, or at one."""
    pinned = f"{model}@{revision}"
    return pinned if split_revision(pinned) == (model, revision) and is_on_hub(model) else model


def is_on_hub(model: str) -> bool:
    """Whether a model's reference is a Hub id, with or without a revision, and not a folder or
    file of this machine."""
    repo, _ = split_revision(model)
    return bool(REPO.fullmatch(repo)) and not repo.endswith(".gguf") and not Path(model).exists()


def model_tag(model: str) -> str:
    """What masks of a model are tagged with: the Hub's own tag, or ours for the embedded model."""
    if is_on_hub(model):
        return f"base_model:{split_revision(model)[0]}"
    return f"rlkv-model-{public_name(model)}"


def public_name(model: str) -> str:
    """A model's reference with nothing of this machine's folders in it."""
    if is_on_hub(model) or not model:
        return model
    last = re.split(r"[/\\]", model.rstrip("/\\"))[-1]
    return re.sub(r"[^\w.:-]", "-", last)[:80]
