"""Zips: read in memory, never unpacked to a folder, so that no name in them leads anywhere."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO

from rlkv.errors import UserError
from rlkv.mask_files.limits import MAX_BYTES, NAMES

MAX_ENTRIES = 1000
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, RuntimeError,
    ValueError, KeyError, IndexError, OverflowError, MemoryError,
)  # fmt: skip
"""What Python's zip reader raises over damaged, encrypted or unknown kinds of zips."""


def read_zip(data: bytes, name: str) -> dict[str, bytes]:
    """The files of the one mask in a zip, at its top or in a folder of it, by their names.

    Raises:
        UserError: if the zip can't be read, holds no mask, several, or far too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = _only_folder(archive, name)
            return {entry: _read(archive, info) for entry, info in entries.items()}
    except _BROKEN as error:
        raise UserError(f"'{name}' is not a readable zip file: download it again.") from error


def write_zip(files: dict[str, bytes], to: IO[bytes], folder: str = "") -> None:
    """Writes the files into a zip, inside `folder` of it if that is not ""."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}/{name}" if folder else name, content)


def _only_folder(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """The entries to read, by their names, of the one folder that holds a mask."""
    listed = archive.infolist()
    if len(listed) > MAX_ENTRIES:
        raise UserError(f"'{name}' holds {len(listed)} files; a mask has a handful.")
    folders: dict[str, dict[str, zipfile.ZipInfo]] = {}
    for info in listed:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.name in NAMES and not path.parts[0].startswith("__MACOSX"):
            if info.file_size > MAX_BYTES:
                raise UserError(f"'{path.name}' in the zip is larger than any mask can be.")
            folders.setdefault(str(path.parent), {})[path.name] = info
    holding = {f: e for f, e in folders.items() if set(e) - {"config.json"}}
    if not holding:
        raise UserError(f"'{name}' holds no mask: none of {', '.join(NAMES)} is in it.")
    if len(holding) > 1:
        raise UserError(
            f"'{name}' holds {len(holding)} masks, in {', '.join(sorted(holding))[:120]}: zip the "
            "folder of one of them."
        )
    return next(iter(holding.values()))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as stream:
        content = stream.read(MAX_BYTES + 1)  # the size in the zip's list may be a lie
    if len(content) > MAX_BYTES:
        raise UserError(f"'{PurePosixPath(info.filename).name}' in the zip is too large.")
    return content
