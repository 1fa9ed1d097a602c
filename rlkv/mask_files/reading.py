"""Which kind of mask something is, and what stands in it.

Every file is taken as hostile: sizes are checked before parsing, only JSON, text tables, .npy and
safetensors are parsed, shapes and values are checked before use, nothing is unpickled or unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

from rlkv import mask_link
from rlkv.errors import UserError
from rlkv.mask_files import head_scores
from rlkv.mask_files.archive import read_zip
from rlkv.mask_files.limits import MAX_BYTES, NAMES, PAPER_TSV, require_size
from rlkv.mask_files.own import from_tsv, read_files
from rlkv.mask_files.parsed import Parsed

REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
Reader = Callable[[bytes, str], Parsed]
READERS: dict[str, Reader] = {
    ".zip": lambda data, name: read_files(read_zip(data, f"{name}.zip"), name),
    ".tsv": lambda data, name: from_tsv(data, name, paper=f"{name}.tsv" == PAPER_TSV),
    ".json": head_scores.from_json,
    ".npy": head_scores.from_npy,
    ".safetensors": head_scores.from_safetensors,
}
"""By the end of the name: from the bytes and the name without that end."""


def parse(source: str | Path) -> Parsed:
    """What a folder, a file or a link text holds.

    Raises:
        UserError: in one line, what is wrong with it.
    """
    text = str(source)
    if mask_link.is_link(text):
        return mask_link.read_link(text)
    path = Path(text)
    try:
        if text and path.is_dir():  # the path of no text is the current folder
            return read_files(_folder(path), path.name or path.absolute().name or text)
        if path.is_file():
            return parse_bytes(_bytes(path), path.name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or "not a name of a file"
        raise UserError(f"'{text[:200]}' can't be read: {reason}.") from error
    raise UserError(
        f"There is no mask at '{text[:200]}': give a folder, a .zip, a .tsv or a Hub repo as "
        "user/name."
    )


def parse_bytes(data: bytes, file_name: str) -> Parsed:
    """What a file of that name holds.

    Raises:
        UserError: in one line, what is wrong with it.
    """
    name = Path(file_name)
    require_size(name.name, len(data))
    suffix = name.suffix.lower()
    if suffix in head_scores.PICKLES:
        raise head_scores.refuse_pickle(name.name)
    reader = READERS.get(suffix)
    if reader is None:
        raise UserError(
            f"'{name.name}' is not a mask file: choose a .zip or a .tsv, or head scores as .json, "
            ".npy or .safetensors."
        )
    return reader(data, name.stem)


def parse_together(paths: Collection[Path], name: str) -> Parsed:
    """What files of one folder hold together, wherever they lie now.

    Raises:
        UserError: in one line, what is wrong with them.
    """
    return read_files({path.name: _bytes(path) for path in paths if path.name in NAMES}, name)


def _folder(path: Path) -> dict[str, bytes]:
    return {name: _bytes(path / name) for name in NAMES if (path / name).is_file()}


def _bytes(path: Path) -> bytes:
    require_size(path.name, path.stat().st_size)
    with path.open("rb") as stream:  # it may grow while it is read
        return stream.read(MAX_BYTES + 1)
