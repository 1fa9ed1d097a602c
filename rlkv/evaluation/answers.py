"""All answers of an evaluation in one small file: what a record (`export.record`) leaves out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rlkv.errors import UserError
from rlkv.evaluation.export import COLUMNS, SampleLike

SCHEMA = 1
FILE = "answers.json.gz"


class ProblemLike(Protocol):
    """A problem with its right answer."""

    @property
    def prompt(self) -> str: ...
    @property
    def answer(self) -> str: ...


class CellLike(Protocol):
    """A point of the curves and what it is."""

    @property
    def key(self) -> str: ...
    @property
    def info(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Answers:
    """What an evaluation asked and was told, as plain values."""

    problems: Sequence[tuple[str, str]]
    """(prompt, right answer)"""
    cells: Sequence[tuple[str, dict[str, Any]]]
    """(key, what it is)"""
    samples: Sequence[dict[str, Any]]
    """One for each answer, named by `COLUMNS`."""


def write_answers(
    path: Path,
    problems: Iterable[ProblemLike],
    cells: Iterable[CellLike],
    samples: Iterable[SampleLike],
) -> None:
    """Writes them; the same answers give the same bytes. Raises OSError."""
    # Answers to the same problem are alike: side by side they pack into less than half.
    ordered = sorted(samples, key=lambda one: one.problem)
    told = {
        "schema": SCHEMA,
        "problems": [(one.prompt, one.answer) for one in problems],
        "cells": [(one.key, dict(one.info)) for one in cells],
        "columns": COLUMNS,
        "samples": [[getattr(one, name) for name in COLUMNS] for one in ordered],
    }
    text = json.dumps(told, separators=(",", ":")).encode()
    path.write_bytes(gzip.compress(text, mtime=0))


def read_answers(path: Path) -> Answers:
    """What `write_answers` wrote.

    Raises:
        UserError: if the file can't be read or is none of ours.
    """
    try:
        told = json.loads(gzip.decompress(path.read_bytes()))
        if told["schema"] != SCHEMA or tuple(told["columns"]) != COLUMNS:
            raise ValueError("of another version")
        return Answers(
            [(str(prompt), str(answer)) for prompt, answer in told["problems"]],
            [(str(key), dict(info)) for key, info in told["cells"]],
            [dict(zip(COLUMNS, row, strict=True)) for row in told["samples"]],
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} holds no answers of an evaluation ({error}).") from error
