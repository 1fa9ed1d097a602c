"""Rows of published data sets: from a folder on this machine, or from the Hugging Face Hub.

`RLKV_DATASETS` names the folder. It holds `NAME/SPLIT.jsonl` with the fields of the Hub, such as
`gsm8k/train.jsonl` with `question` and `answer`. What was once fetched from the Hub is read from
its cache from then on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rlkv.errors import UserError, first_line

FOLDER_VARIABLE = "RLKV_DATASETS"
MAX_BYTES = 500 * 10**6
"""Of one file of a data set."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """Where a data set comes from."""

    name: str
    repo: str
    """Data set on the Hub."""
    files: Mapping[str, str]
    """For each split of its own the pattern of its files in the repository."""


def rows(source: Source, split: str) -> list[Row]:
    """All rows of one of the data set's own splits.

    Raises:
        UserError: if they are neither in the local folder nor to be had from the Hub; names
            both ways.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        path = Path(folder).expanduser() / source.name / f"{split}.jsonl"
        if path.is_file():
            return read_rows(path)
    try:
        paths = _from_hub(source, split)
    except UserError as error:
        raise UserError(
            f"{str(error).rstrip('.')}. Or put {source.name}/{split}.jsonl, one JSON object a line "
            f"with the Hub's fields, into a folder and set {FOLDER_VARIABLE} to that folder"
            + (f" (it is {folder} now, which has no such file)." if folder else ".")
        ) from error
    return [row for path in paths for row in read_rows(path)]


def read_rows(path: Path) -> list[Row]:
    """The objects of a .jsonl, .json (a list) or .parquet file.

    Raises:
        UserError: if the file is too large or something else, naming the line.
    """
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES // 10**6} MB: take a smaller file.")
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            found: list[Any] = parquet.read_table(path).to_pylist()
        elif path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8-sig"))
        else:
            found = _lines(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} can't be read: {error}") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise UserError(f"{path} must hold JSON objects, one for each problem.")
    return found


def _lines(path: Path) -> list[Any]:
    found: list[Any] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is no JSON: {error}") from error
    return found


def _from_hub(source: Source, split: str) -> list[Path]:
    """The files of a split, from the Hub's cache or else the Hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from rlkv.hub import require_reachable

    pattern = source.files[split]

    def fetched(*, local: bool) -> list[Path]:
        folder = Path(
            snapshot_download(
                source.repo, repo_type="dataset", allow_patterns=pattern, local_files_only=local
            )
        )
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [path for path in files if fnmatch(path.relative_to(folder).as_posix(), pattern)]

    try:
        if paths := fetched(local=True):
            return paths
    except LocalEntryNotFoundError:
        pass
    what = f"The data set '{source.repo}'"
    require_reachable(what)
    try:
        paths = fetched(local=False)
    except Exception as error:  # the client's and its native parts' have no class in common
        raise UserError(f"{what} can't be fetched from the Hub: {first_line(error)}") from error
    if not paths:
        raise UserError(f"{what} has no file {pattern} any more on the Hub.")
    return paths
