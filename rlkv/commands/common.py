"""What all commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from rlkv.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

Result = dict[str, Any]


def add(
    commands: Any, name: str, run: Callable[[argparse.Namespace], Result], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.set_defaults(run=run)
    return parser


def literally(text: str) -> str:
    """Help text in which a % stands for itself."""
    return text.replace("%", "%%")


def field_options(
    parser: argparse.ArgumentParser,
    settings: type[BaseModel],
    *,
    without: Container[str] = (),
    notes: Mapping[str, str] | None = None,
) -> None:
    """An option for every field of some settings; None where it is not typed.

    Fields with several values are typed as text, separated by commas.

    Args:
        without: fields that get none.
        notes: what `--help` says of a field after its description.
    """
    for name, field in settings.model_fields.items():
        if name in without:
            continue
        kind = {int: int, float: float}.get(field.annotation, str)  # type: ignore[arg-type]
        extra: dict[str, Any] = {"type": kind}
        if field.annotation is bool:
            extra = {"action": argparse.BooleanOptionalAction}
        elif get_origin(field.annotation) is Literal:
            extra = {"choices": get_args(field.annotation)}
        several = isinstance(field.default, tuple)
        default = ",".join(map(str, field.default)) if several else field.default
        note = (notes or {}).get(name, "")
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=None,
            help=literally(f"{field.description}{note} (default: {default})"),
            **extra,
        )


def say_for(options: argparse.Namespace) -> Callable[[str], None]:
    """Progress goes to stderr when stdout is for a program."""
    return lambda text: print(text, file=sys.stderr if options.json else sys.stdout, flush=True)


def path(text: str) -> Path:
    """A path to write to. That of no text would be the current folder, with all that is in it."""
    if not text.strip():
        raise argparse.ArgumentTypeError("name a file or a folder")
    return Path(text)


def require_folder(folder: Path) -> None:
    """Asked before hours of work are spent on what goes there; nothing is made yet.

    Raises:
        UserError: if it can't be a folder, or nothing can be written into it.
    """
    try:
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    except OSError as error:  # longer than a name can be
        raise UserError(f"'{folder}' can't be a folder: {error.strerror}.") from error
    if not there.is_dir():
        raise UserError(f"'{folder}' can't be a folder: '{there}' is a file. Name another.")
    if not os.access(there, os.W_OK):
        raise UserError(f"'{folder}' can't be written to: '{there}' is read-only. Name another.")


def model_options(parser: argparse.ArgumentParser) -> None:
    """`--model`, `--device` and `--dtype`."""
    parser.add_argument("--model", default="tracer", help="see `train`")
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps (default: the fastest)")
    parser.add_argument(
        "--dtype", default="auto", help="float32, bfloat16, float16 (default: by the device)"
    )


def loaded(options: argparse.Namespace) -> tuple[Any, Any]:
    """Model and tokenizer of `model_options`.

    Raises:
        UserError: as `load_model`; and before any weight is read, if the model does not fit.
    """
    from rlkv.model_facts import read_facts, require_loadable
    from rlkv.models import load_model

    if options.device == options.dtype == "auto":  # what the facts are of
        require_loadable(read_facts(options.model))
    return load_model(options.model, device=options.device, dtype=options.dtype)


def mask_option(options: argparse.Namespace) -> Any:
    """The mask of `--mask` at the cut of `--sparsity`, or None."""
    from rlkv.masks import HeadMask

    if options.mask is None:
        return None
    mask = HeadMask.load(options.mask)
    return mask if options.sparsity is None else mask.at_sparsity(options.sparsity)
