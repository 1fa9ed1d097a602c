"""All sides in lockstep: every round each writes one token, and what differs is measured."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.dialogue.control import Control
from rlkv.dialogue.frame import Candidate, Difference, Frame, Probabilities
from rlkv.dialogue.keeper import Keeper
from rlkv.dialogue.message import SideSpec
from rlkv.dialogue.run import Drawn, Room, Run, Stage
from rlkv.errors import UserError
from rlkv.generation import Sampling
from rlkv.out_of_memory import free_memory, is_out_of_memory

MOST_SIDES = 4


def converse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sides: Sequence[SideSpec],
    sampling: Sampling,
    control: Control | None = None,
    *,
    keeper: Keeper | None = None,
    conversation: str = "",
    headroom: Room | None = None,
    capture: bool = False,
    context: int | None = None,
) -> Generator[Frame]:
    """Answers under several masks at once; a frame after every round.

    Rounds before the first token read one chunk of the prompts each; then every running side
    writes one token a round. All sides draw with the same random numbers, so they agree until
    their logits differ. Closing the iterator frees the caches.

    Args:
        keeper: remembers caches between turns, under the name `conversation`.
        headroom: asked before a cache grows; a side without room stops with "memory".
        capture: decode with one CUDA graph a side (`rlkv.captured`), on CUDA devices.
        context: tokens of prompt and answer that are read at most; None is what the model was
            trained on. Beyond that its words mean little, and its memory is what it would be.

    Raises:
        UserError: if a side's history can't be read (`rlkv.dialogue.prompt`), or a mask is not
            of the model's shape.
    """
    if not 1 <= len(sides) <= MOST_SIDES:
        raise UserError(f"Between one and {MOST_SIDES} sides can answer, not {len(sides)}.")
    stage = Stage(
        model,
        tokenizer,
        sampling,
        keeper=keeper,
        conversation=conversation,
        headroom=headroom,
        capture=capture,
        context=context,
    )
    runs: list[Run] = []
    try:
        for spec in sides:
            runs.append(Run(stage, spec))
        yield from _Rounds(runs, control or Control()).frames()
    finally:
        for run in runs:
            run.free()


class _Rounds:
    """The rounds of one answer."""

    def __init__(self, runs: list[Run], control: Control) -> None:
        self._runs = runs
        self._control = control
        self._same_prompt = [run.prompt == runs[0].prompt for run in runs]
        self._differences: list[Difference | None] = [None] * len(runs)

    def frames(self) -> Iterator[Frame]:
        """A frame after every round, until all sides have ended."""
        while any(run.running for run in self._runs):
            self._obey()
            self._read()
            # One that reads on, after a change of mask, is waited for: positions stay in step.
            if all(run.ready for run in self._runs if run.running) and not self._control.stopping:
                self._write()
            if not any(run.running for run in self._runs):
                for run in self._runs:
                    run.hand_over()
            yield Frame(tuple(run.state() for run in self._runs), tuple(self._differences))

    def _obey(self) -> None:
        for side, mask in self._control.take_changes().items():
            if not 0 <= side < len(self._runs):
                raise UserError(f"There is no side {side}: there are {len(self._runs)}.")
            if self._runs[side].running:
                self._runs[side].change(mask)
        if self._control.stopping:
            for run in self._runs:
                if run.running:
                    run.end("stopped")

    def _read(self) -> None:
        for run in self._runs:
            if run.running and not run.ready and not self._control.stopping:
                _within_memory(run, run.read)

    def _write(self) -> None:
        """One token on every running side, and what the sides' distributions say of each other."""
        drawn: dict[int, Drawn] = {}
        for side, run in enumerate(self._runs):
            if run.running:

                def keep(side: int = side, run: Run = run) -> None:
                    drawn[side] = run.draw()

                _within_memory(run, keep)
        for side in range(1, len(self._runs)):
            if self._differences[side] is None:
                self._compare(side, drawn.get(0), drawn.get(side))
        for side, token in drawn.items():
            self._runs[side].write(token, self._kl(side, drawn.get(0), token))

    def _compare(self, side: int, first: Drawn | None, other: Drawn | None) -> None:
        """Notes where a side parts from side 0."""
        if (first.id if first else None) == (other.id if other else None):
            return
        ids = tuple(one.id if one else None for one in (first, other))

        def under(one: Drawn | None) -> Probabilities:
            a, b = (None if i is None or one is None else one.p(i) for i in ids)
            return a, b

        self._differences[side] = Difference(
            side=side,
            at=len(self._runs[side].tokens),
            tokens=(self._candidate(0, first), self._candidate(side, other)),
            probabilities=(under(first), under(other)) if self._same_prompt[side] else None,
        )

    def _candidate(self, side: int, drawn: Drawn | None) -> Candidate | None:
        return None if drawn is None else (drawn.id, self._runs[side].name(drawn.id))

    def _kl(self, side: int, first: Drawn | None, token: Drawn) -> float | None:
        """In nats; None unless both have read the same until here."""
        difference = self._differences[side]
        parted = difference is not None and difference.at < len(self._runs[side].tokens)
        if side == 0 or first is None or parted or not self._same_prompt[side]:
            return None
        return divergence(first.log_p, token.log_p)


def divergence(p: torch.Tensor, q: torch.Tensor) -> float:
    """KL(p || q) in nats of two log-probability vectors; never below 0 by rounding."""
    weight = p.exp()
    return max(float(torch.where(weight > 0, weight * (p - q), 0.0).sum()), 0.0)


def _within_memory(run: Run, step: Callable[[], None]) -> None:
    """Does a step; out of memory ends that side, not the process."""
    try:
        step()
        return
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Past the except clause: the error's frames hold the tensors that are to be freed.
    run.end("memory")
    free_memory()
