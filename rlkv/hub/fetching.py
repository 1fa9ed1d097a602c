"""A mask from the Hub: its few small files, into the Hub's own cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

from rlkv.errors import UserError
from rlkv.hub.names import REPO, REVISION, require_repo
from rlkv.hub.reaching import require_reachable
from rlkv.hub.refusals import explained
from rlkv.mask_files.limits import MAX_BYTES, NAMES
from rlkv.shipped import shipped_mask

if TYPE_CHECKING:
    from rlkv.masks import HeadMask


class _NoBar(tqdm):
    """No progress bar for a few kilobytes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call]


def from_pretrained(
    source: str | Path, *, revision: str | None = None, token: str | None = None
) -> HeadMask:
    """A mask of a Hub repository `owner/name`, of a folder, or a shipped one by its name.

    What was fetched before is found again without a network. The mask's notes tell repository
    and commit.

    Args:
        revision: branch, tag or commit; of a repository only.

    Raises:
        UserError: if there is no such mask or it can't be read, saying why.
    """
    from rlkv.masks import HeadMask

    path = Path(source)
    if path.exists() or not REPO.fullmatch(str(source)):
        if revision is not None:
            raise UserError("A revision belongs to a repository of the Hub, not to a folder.")
        shipped = None if path.exists() else shipped_mask(str(source))
        return HeadMask.load(shipped or source)
    repo = require_repo(str(source))
    folder = fetch(repo, revision=revision, token=token)
    mask = HeadMask.load(folder)
    origin = {"repo": repo, "commit": folder.name}
    return replace(mask, name=named(mask.name, folder, repo), info={**mask.info, "hub": origin})


def fetch(
    repo: str, *, revision: str | None = None, token: str | None = None, for_guest: bool = False
) -> Path:
    """The folder of the Hub's cache that holds the mask's files of a repository.

    Args:
        token: None for that of the environment or of `hf auth login`.
        for_guest: whether somebody else asks than the owner of this machine. Then None is no token
            at all, and the Hub is asked each time whether they may see what was fetched before.

    Raises:
        UserError: if it can't be fetched, saying why.
    """
    try:
        require_reachable(f"The mask '{repo}'")
    except UserError:
        if not for_guest and (kept := _kept(repo, revision)) is not None:
            return kept
        raise
    # None would have the Hub's client look for the owner's.
    shown = token or (False if for_guest else None)
    with explained(f"The mask '{repo}' can't be read", token):
        info = HfApi(token=shown).model_info(repo, revision=revision, files_metadata=True)
        for file in info.siblings or []:
            if file.rfilename in NAMES and (file.size or 0) > MAX_BYTES:
                raise UserError(f"'{file.rfilename}' of '{repo}' is larger than any mask can be.")
        folder = Path(
            snapshot_download(
                repo,
                revision=info.sha,  # what was looked at: the branch may have moved since
                token=shown,
                allow_patterns=list(NAMES),
                tqdm_class=_NoBar,
            )
        )
        _remember(folder, revision or "main")
    return folder


def _remember(folder: Path, revision: str) -> None:
    """Notes which commit a branch or tag was at, as the Hub's client does where it is asked for
    one: without a network the mask is found by it."""
    if revision == folder.name or not REVISION.fullmatch(revision):
        return
    note = folder.parent.parent / "refs" / revision
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(folder.name)


def _kept(repo: str, revision: str | None) -> Path | None:
    try:
        # With the same names as when it was fetched: else the other files count as missing.
        folder = Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=list(NAMES), local_files_only=True
            )
        )
    except (OSError, ValueError):
        return None
    return folder if any((folder / name).is_file() for name in NAMES) else None


def named(name: str, folder: Path, repo: str) -> str:
    """What a mask out of a repository's folder in the cache is called: as it says itself, else as
    the repository. A table alone has no name but its file's, or its folder's: the commit."""
    return repo.rpartition("/")[2] if name in ("", folder.name, "full_attention_heads") else name
