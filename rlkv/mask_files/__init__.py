"""How a mask is written down: folder, zip, tsv, head scores, link text, Hub repository.

`read` takes any of them; `rlkv.mask_files.found.look` says what is in one before it is kept.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlkv.errors import UserError
from rlkv.mask_files.archive import write_zip as _write_zip
from rlkv.mask_files.head_scores import PICKLES
from rlkv.mask_files.limits import CARD, CONFIG, GATES, PAPER_TSV, PICTURE, SCHEMA, TSV
from rlkv.mask_files.own import contents
from rlkv.mask_files.reading import READERS, REPO, parse
from rlkv.mask_files.tsv import write_adapter_weights

if TYPE_CHECKING:
    from rlkv.masks import HeadMask

__all__ = [
    "CARD", "CONFIG", "GATES", "PAPER_TSV", "PICTURE", "SCHEMA", "TSV", "contents", "read",
    "shared_contents", "write_adapter_weights", "write_file", "write_folder", "write_zip",
]  # fmt: skip


def read(source: str | Path) -> dict[str, Any]:
    """The fields of a HeadMask from any of the forms.

    Raises:
        UserError: in one line, what is wrong with it.
    """
    text = str(source)
    if not _is_repo(text):
        return parse(source).fields()
    from rlkv.hub.fetching import fetch, named

    folder = fetch(text)
    found = parse(folder)
    return replace(found, name=named(found.name, folder, text)).fields()


def _is_repo(text: str) -> bool:
    """Whether the Hub is asked; not for what ends as files of masks do, which is misspelt."""
    if REPO.fullmatch(text) is None or Path(text).suffix.lower() in {*READERS, *PICKLES}:
        return False
    return not Path(text).exists()


def shared_contents(mask: HeadMask, *, source: str = "") -> dict[str, bytes]:
    """What goes to others: the three files that hold the mask, a card, and the heat map it shows.

    `source` is what the card's snippet loads; default: the folder that the files lie in.
    """
    from rlkv.mask_card import card
    from rlkv.mask_picture import heat_map

    return {
        **contents(mask),
        CARD: card(mask, source=source).encode(),
        PICTURE: heat_map(mask).encode(),
    }


def write_folder(mask: HeadMask, folder: Path) -> Path:
    """Writes the files into `folder`, which is made if needed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in shared_contents(mask).items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise UserError(f"Can't write the mask to '{folder}': {error.strerror}.") from error
    return folder


def write_zip(mask: HeadMask, path: Path, *, folder: str = "") -> Path:
    """Writes the files into one zip at `path`, inside `folder` of it if that is not ""."""
    packed = io.BytesIO()
    _write_zip(shared_contents(mask), packed, folder)
    return write_file(packed.getvalue(), path)


def write_file(data: bytes, path: Path) -> Path:
    """Writes one file of a mask; its folder is made if needed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"Can't write the mask to '{path}': {error.strerror}.") from error
    return path
