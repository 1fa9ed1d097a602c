"""What running on a Space of the Hugging Face Hub means for the app, in one place.

Knows the environment; imports nothing that reads it, so that it can be set right first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from storage.locations import is_writable, on_space, private_folder

ADDRESS = "https://huggingface.co/spaces/"


@dataclass(frozen=True)
class Space:
    """The Space that this process is."""

    id: str
    """`owner/name`."""
    zero_gpu: bool
    """A GPU is lent for the time of one call (`ui.zero_gpu`)."""
    sign_in: bool
    """Visitors can sign in: the README asks for it, and the Hub has set it up."""

    @property
    def duplicate(self) -> str:
        """The page on which a visitor makes a copy of it."""
        return f"{ADDRESS}{self.id}?duplicate=true"


def here() -> Space | None:
    """The Space that this is; None on a machine of one's own."""
    if not on_space():
        return None
    return Space(
        id=os.environ["SPACE_ID"],
        zero_gpu=zero_gpu(),
        sign_in=bool(os.environ.get("OAUTH_CLIENT_ID")),
    )


def zero_gpu() -> bool:
    """Whether a GPU is lent for the time of one call."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def host() -> str:
    """The address to listen on if none is asked for: a Space's visitors come from outside."""
    return "0.0.0.0" if on_space() else "127.0.0.1"


def prepare_home(data: Path) -> None:
    """Sees to a home folder that can be written to: caches of many packages go there.

    To be called before those are imported.
    """
    if not is_writable(Path(os.environ.get("HOME") or "/nowhere")):
        os.environ["HOME"] = str(private_folder(data / "home"))
    cache = os.environ.get("HF_HOME")
    if cache and on_space() and not _can_be_made(Path(cache)):
        del os.environ["HF_HOME"]  # of a disk that is not attached any more


def _can_be_made(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return is_writable(folder)
