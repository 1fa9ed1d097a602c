"""What to measure, read from the texts of the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.models import ModelSpec, dtype_named

DEFAULT_SPARSITY = 0.5

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """Every combination of these is one row."""

    contexts: list[int]
    batches: list[int]
    sparsities: list[float]
    """Empty: the mask's own cut."""
    dtypes: list[torch.dtype | None]
    """None: the default of the device."""

    @property
    def rows(self) -> int:
        cuts = max(1, len(self.sparsities))
        return len(self.contexts) * len(self.batches) * cuts * len(self.dtypes)

    def masks(self, mask: HeadMask | None, spec: ModelSpec) -> list[HeadMask]:
        """`mask` at each cut; without one, random heads of the model.

        Raises:
            UserError: if a cut is not from 0 to 1, or the mask is of another model.
        """
        if mask is None:
            mask = HeadMask.random(spec.layers, spec.kv_heads, sparsity=DEFAULT_SPARSITY, seed=0)
        mask.require_shape(spec.layers, spec.kv_heads, spec.name)
        return [mask.at_sparsity(cut) for cut in self.sparsities] or [mask]


def read_plan(contexts: str, batch: str, sparsity: str | None, dtype: str | None) -> Plan:
    """Values by commas, as they are typed.

    Raises:
        UserError: naming the option and what it takes.
    """
    return Plan(
        contexts=_values(contexts, int, "--contexts takes whole numbers", "1024,4096"),
        batches=_values(batch, int, "--batch takes whole numbers", "1,8"),
        sparsities=_values(sparsity, float, "--sparsity takes numbers from 0 to 1", "0.25,0.5")
        if sparsity is not None
        else [],
        dtypes=list(dict.fromkeys(dtype_named(name.strip()) for name in dtype.split(",")))
        if dtype
        else [None],
    )


def _values(text: str, kind: Callable[[str], T], takes: str, example: str) -> list[T]:
    try:
        return list(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError as error:
        raise UserError(f"{takes}, by commas, such as {example}; got '{text}'.") from error


def make_folder(path: str) -> Path:
    """The folder for the results, made if it is missing.

    Raises:
        UserError: if it can't be one.
    """
    folder = Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"'{path}' can't be a folder for the results: {error.strerror}.") from error
    return folder
