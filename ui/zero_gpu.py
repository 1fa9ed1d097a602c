"""Where a model runs: in this process, or on a GPU that a ZeroGPU Space lends for one call.

On such a Space the package `spaces` runs a decorated function in a process forked for it: what goes
in and comes out is pickled, and only there a GPU is to be seen. Models wait in this process's
memory until then. The embedded one is quick enough without. Elsewhere nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from rlkv.errors import UserError
from ui.heavy import heavy
from ui.space import zero_gpu

if TYPE_CHECKING:
    from rlkv.dialogue import Control, Frame, Keeper, Sampling, SideSpec
    from rlkv.dialogue.packets import Packet

EMBEDDED = "tracer"
MEASURING_SECONDS = 90
"""Asked of the Space for one measurement; a visitor's daily quota has to cover it."""
LONGEST_SECONDS = 120
FIXED = (
    "The mask can't be changed during an answer on this Space, where it is written on a lent GPU. "
    "Stop the answer, or wait for its end."
)

Loaded = tuple[Any, Any]
F = TypeVar("F", bound=Callable[..., Any])

_inherited: dict[str, Loaded] = {}
"""What a process forked now finds loaded."""


def runs_apart(model: str) -> bool:
    """Whether this model runs on a lent GPU, in another process."""
    return zero_gpu() and model != EMBEDDED


def placement(model: str) -> dict[str, str]:
    """Options of `load_model`. On a ZeroGPU Space models are loaded where there is no GPU yet."""
    if not zero_gpu():
        return {}
    return {"device": "cpu", "dtype": "bfloat16" if runs_apart(model) else "float32"}


def require_changeable(model: str) -> None:
    """Raises UserError if an answer of this model must keep the masks it began with."""
    if runs_apart(model):
        raise UserError(FIXED)


def converse(
    model: str,
    loaded: Loaded,
    sides: Sequence[SideSpec],
    sampling: Sampling,
    control: Control | None = None,
    *,
    keeper: Keeper | None = None,
    conversation: str = "",
    context: int | None = None,
) -> Generator[Frame]:
    """As `rlkv.dialogue.converse`, on whatever the model has to run on here.

    On a lent GPU nothing is kept between turns, masks don't change during an answer, and the
    context is the model's own.
    """
    if runs_apart(model):
        yield from _converse_apart(model, loaded, sides, sampling, control)
        return
    headroom = heavy("rlkv.headroom").Headroom(str(loaded[0].device))
    yield from heavy("rlkv.dialogue").converse(
        *loaded, sides, sampling, control,
        keeper=keeper, conversation=conversation, headroom=headroom, context=context,
    )  # fmt: skip


def measure(model: str, loaded: Loaded, what: str, *args: Any, **options: Any) -> Any:
    """What a function `module:name` finds out about (model, tokenizer), run where that runs here.

    Raises:
        UserError: as the function does.
    """
    module, _, name = what.partition(":")
    function = getattr(heavy(module), name)
    if not runs_apart(model):
        return function(*loaded, *args, **options)
    with _lending(model, loaded):
        found = _measured(model, what, args, options)
    if isinstance(found, Refused):
        raise UserError(found.words)
    return found


@dataclass(frozen=True)
class Refused:
    """A user's mistake, told by the other process: its exceptions arrive without their words."""

    words: str


def _converse_apart(
    model: str,
    loaded: Loaded,
    sides: Sequence[SideSpec],
    sampling: Sampling,
    control: Control | None,
) -> Generator[Frame]:
    unpacker = heavy("rlkv.dialogue.packets").Unpacker()
    frame: Frame | None = None
    with (
        _lending(model, loaded),
        closing(_answered(model, tuple(sides), sampling)) as packets,
    ):
        for packet in packets:
            if isinstance(packet, Refused):
                raise UserError(packet.words)
            frame = unpacker.unpack(packet)
            yield frame
            if control is not None and control.stopping:
                break  # closing it ends the work over there
    if frame is not None and any(side.stop_reason is None for side in frame.sides):
        yield replace(frame, sides=tuple(_ended(side) for side in frame.sides))


def _ended(side: Any) -> Any:
    return side if side.stop_reason else replace(side, stop_reason="stopped")


@contextmanager
def _lending(model: str, loaded: Loaded) -> Iterator[None]:
    """Puts the model where a fork finds it, and imports here what is needed there: a lock that
    another thread holds at the fork is never freed in the new process.

    Raises:
        UserError: if no GPU is to be had, or the call did not end over there.
    """
    for name in ("rlkv.forked", "rlkv.headroom", "rlkv.dialogue.lockstep", "rlkv.dialogue.packets"):
        heavy(name)
    from gradio import Error  # noqa: PLC0415  (its environment is set by now)

    _inherited[model] = loaded
    try:
        yield
    except Error as refusal:
        raise UserError(f"No answer from the Space's GPU: {refusal.message}") from refusal
    finally:
        _inherited.pop(model, None)


# --- in the other process ---------------------------------------------------------------------


def _answer(
    model: str, sides: tuple[SideSpec, ...], sampling: Sampling
) -> Generator[Packet | Refused]:
    from rlkv.dialogue.lockstep import converse  # noqa: PLC0415  (see `_lending`)
    from rlkv.dialogue.packets import Packer  # noqa: PLC0415
    from rlkv.forked import model_here  # noqa: PLC0415
    from rlkv.headroom import Headroom  # noqa: PLC0415

    try:
        there, tokenizer = model_here(model, _inherited)
        packer, headroom = Packer(), Headroom(str(there.device))
        with closing(converse(there, tokenizer, sides, sampling, headroom=headroom)) as frames:
            for frame in frames:
                yield packer.pack(frame)
    except UserError as refusal:
        yield Refused(str(refusal))


def _found(model: str, what: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    from rlkv.forked import model_here  # noqa: PLC0415

    module, _, name = what.partition(":")
    try:
        loaded = model_here(model, _inherited)
        # A process that is used again was perhaps forked before this was imported.
        return getattr(import_module(module), name)(*loaded, *args, **options)
    except UserError as refusal:
        return Refused(str(refusal))


# --- what decides which process that is -------------------------------------------------------


def _seconds(model: str, sides: tuple[SideSpec, ...], sampling: Sampling) -> int:
    """What to ask of the Space for an answer: a guess, since it depends on the model."""
    return min(LONGEST_SECONDS, 20 + len(sides) * sampling.max_new_tokens // 20)


def _lent(function: F, seconds: Any) -> F:
    if not zero_gpu():
        return function
    # On every Gradio Space this package is there.
    decorated: F = import_module("spaces").GPU(function, duration=seconds)
    return decorated


_answered = _lent(_answer, _seconds)
_measured = _lent(_found, MEASURING_SECONDS)
