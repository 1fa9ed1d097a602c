"""A mask to the Hub: all its files in one commit, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.hf_api import ModelInfo

from rlkv import mask_files
from rlkv.errors import UserError
from rlkv.hub.card import hub_card
from rlkv.hub.names import public_name, require_repo
from rlkv.hub.reaching import require_reachable
from rlkv.hub.refusals import WRITE_HELP, explained

if TYPE_CHECKING:
    from rlkv.masks import HeadMask

BEGUN_BY_THE_HUB = {".gitattributes", "README.md", "LICENSE"}
"""Files of a repository in which nobody has put anything yet."""


def push(
    mask: HeadMask,
    repo: str,
    *,
    token: str | None = None,
    private: bool = False,
    message: str = "",
) -> str:
    """Creates the model repository if needed, and commits the mask and its card; the address of
    the commit.

    The commit builds on the one that was the newest when we looked: what others push in between
    is never overwritten unseen. A repository that holds something else than a mask is left alone,
    and so is a public one where a private one was wanted.

    Args:
        token: None for that of the environment or of `hf auth login`.

    Raises:
        UserError: saying what to do.
    """
    repo = require_repo(repo)
    require_reachable(f"The repository '{repo}'")
    token = token or get_token()
    if not token:
        raise UserError(f"Pushing to the Hub needs a token: {WRITE_HELP}.")
    api = HfApi(token=token)
    with explained(f"Nothing was pushed to '{repo}'", token):
        api.create_repo(repo, private=private, exist_ok=True)
        info = api.model_info(repo)
        _require_ours(info, repo, private)
        files = _files(mask, repo)
        operations = [CommitOperationAdd(name, data) for name, data in files.items()]
        title = message[:200] or "Upload head mask"
        commit = api.create_commit(repo, operations, commit_message=title, parent_commit=info.sha)
    return str(commit.commit_url)


def _require_ours(info: ModelInfo, repo: str, private: bool) -> None:
    names = {file.rfilename for file in info.siblings or []}
    if mask_files.GATES not in names and names - BEGUN_BY_THE_HUB:
        raise UserError(
            f"Nothing was pushed: '{repo}' holds something else than a mask. Choose another name."
        )
    if private and info.private is False:
        raise UserError(
            f"Nothing was pushed: '{repo}' is public already. Make it private in its settings on "
            "the Hub, or choose another name."
        )


def _files(mask: HeadMask, repo: str) -> dict[str, bytes]:
    mask = _without_paths(mask)
    files = mask_files.shared_contents(mask, source=repo)
    return {**files, mask_files.CARD: hub_card(mask, repo).encode()}


def _without_paths(mask: HeadMask) -> HeadMask:
    """The mask without the folders of this machine, of which its recipe may tell."""
    if mask.model == public_name(mask.model):
        return mask
    return replace(mask, model=public_name(mask.model), info=_scrubbed(mask.info, mask.model))


def _scrubbed(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _scrubbed(one, path) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(one, path) for one in value]
    return value.replace(path, public_name(path)) if isinstance(value, str) else value
