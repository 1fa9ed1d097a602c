"""A mask as a file to take away."""

from __future__ import annotations

from pathlib import Path

from rlkv.errors import UserError
from rlkv.mask_files import PAPER_TSV, write_adapter_weights, write_zip
from rlkv.mask_picture import heat_map
from rlkv.masks import HeadMask
from ui.downloads import new_folder


def file_name(mask: HeadMask) -> str:
    """A mask's name as a file name that every system takes, and no reader passes over as a
    system's own, such as `__MACOSX`."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in mask.name)
    return kept.strip("-._")[:60] or "mask"


def written(mask: HeadMask, form: object) -> Path:
    """The file of a mask in one of the forms of `view.EXPORTS`, in a new folder.

    Raises:
        UserError: if there is no such form.
    """
    name = file_name(mask)
    folder = new_folder("mask")
    if form == "zip":
        return write_zip(mask, folder / f"{name}.zip")
    if form == "folder":
        return write_zip(mask, folder / f"{name}.zip", folder=name)
    if form == "adapter":
        path = folder / PAPER_TSV
        path.write_bytes(write_adapter_weights(mask))
        return path
    if form == "picture":
        path = folder / f"{name}.svg"
        path.write_text(heat_map(mask), encoding="utf-8")
        return path
    raise UserError("A mask is exported as a zip, a table for SGLang, or a picture.")
