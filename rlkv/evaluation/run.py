"""One evaluation from settings to its last sample. What ends is kept at once.

Batches are the same under every method: the missing answers in the order of their prompts' length.
An answer does not depend on the others of its batch: sampled ones have a seed of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache

from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from rlkv.evaluation.cells import Cell, cells
from rlkv.evaluation.config import EvalConfig
from rlkv.evaluation.cuts import notes
from rlkv.evaluation.methods import METHODS
from rlkv.evaluation.ranking import rankings
from rlkv.evaluation.samples import EvalObserver, Place, Sample, verdict
from rlkv.explore.stopping import Stopped
from rlkv.generation import encode, end_tokens, ends_in_loop
from rlkv.layout import layout_of
from rlkv.models import load_model, max_length
from rlkv.out_of_memory import free_memory, is_out_of_memory
from rlkv.tasks import Problem, get_task
from rlkv.training.rollout import Draw, Rollout, rollouts
from rlkv.training.verifier import Verifier


def evaluate(config: EvalConfig, folder: Path, observer: EvalObserver) -> bool:
    """Answers everything that is missing; False if the observer stopped it before the end.

    Args:
        folder: of the job; rankings made for it are kept there.

    Raises:
        UserError: if the model, the task or a mask can't be used, saying why.
    """
    task = get_task(config.task)
    problems = task.problems(config.problems, seed=config.seed, split="test")
    model, tokenizer = load_model(config.model, device=config.device, dtype=config.dtype)
    for entry in config.masks:
        entry.mask().require_shape(*layout_of(model).shape, config.model)
    try:
        ranked = rankings(model, tokenizer, config, folder, observer)
        plan = cells(config, layout_of(model).shape, ranked)
        for note in notes(config):
            observer.event(note)
        known = observer.plan(problems, [(cell.key, cell.info()) for cell in plan], config.draws)
        asking = Asking(model, tokenizer, config, problems, observer)
        total = len(plan) * len(problems) * config.draws
        observer.phase("answering", len(known), total)
        for cell in plan:
            asking.cell(cell, known)
    except Stopped:
        return False
    return True


class Asking:
    """Puts the problems to one model under one cell after the other."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: EvalConfig,
        problems: Sequence[Problem],
        observer: EvalObserver,
    ) -> None:
        self.model, self.config, self.observer = model, config, observer
        self.problems = problems
        self.verifier = Verifier(get_task(config.task), tokenizer)
        self.ends = end_tokens(model, tokenizer)
        limit = max_length(model.config)
        self.prompts = [encode(tokenizer, p.prompt, limit)[0].tolist() for p in problems]
        self.order = sorted(range(len(problems)), key=lambda i: len(self.prompts[i]))
        room = limit - max(map(len, self.prompts))
        self.draw = Draw(
            min(config.max_new_tokens or self.verifier.task.max_new_tokens, room),
            config.temperature,
            config.top_p,
        )
        self.rows = config.rows_at_once

    def cell(self, cell: Cell, known: set[Place]) -> None:
        """Asks what is missing in one cell, and adds it to what is known.

        With half the rows at once where memory ends.

        Raises:
            Stopped: if the observer wants an end.
            UserError: if not even one answer fits into memory.
        """
        while missing := self._missing(cell.key, known):
            try:
                self._ask(cell, missing[: self.rows], known)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Past the except clause: the error's frames hold the tensors that are to be freed.
            self._halve()

    def _missing(self, key: str, known: set[Place]) -> list[tuple[int, int]]:
        """(problem, draw) of the answers that are not there yet, short prompts first."""
        return [
            (problem, draw)
            for problem in self.order
            for draw in range(self.config.draws)
            if (key, problem, draw) not in known
        ]

    def _ask(self, cell: Cell, batch: Sequence[tuple[int, int]], known: set[Place]) -> None:
        def ended(row: int, answer: Rollout) -> None:
            sample = self._sample(cell, *batch[row], answer)
            known.add(sample.place)
            self.observer.keep([sample])

        rollouts(
            self.model,
            [self.prompts[problem] for problem, _ in batch],
            self.draw,
            self.ends,
            new_cache(self.model, cell),
            seeds=[seed_of(self.config.seed, *place) for place in batch],
            ended=ended,
            stop=self.observer.should_stop,
        )

    def _sample(self, cell: Cell, problem: int, draw: int, answer: Rollout) -> Sample:
        text = self.verifier.text(answer)
        right = self.verifier.reward(text, self.problems[problem]) == 1.0
        return Sample(
            cell=cell.key,
            problem=problem,
            draw=draw,
            text=self.verifier.opened + text,
            verdict=verdict(right, answer.stop_reason, ends_in_loop(answer.ids)),
            stop=answer.stop_reason,
            tokens=len(answer.ids),
            length=answer.length,
            kv_bytes=answer.kv_bytes,
        )

    def _halve(self) -> None:
        free_memory()
        if self.rows == 1:
            raise UserError(
                "Out of memory with a single answer: choose a shorter answer or a smaller model."
            )
        self.observer.event(f"Out of memory with {self.rows} rows at once: going on with half")
        self.rows //= 2


def new_cache(model: PreTrainedModel, cell: Cell) -> Callable[[], Cache]:
    """Makes caches for one cell."""
    if cell.cache != "heads":
        kind = METHODS[cell.cache].load()
        return lambda: kind(model, cell.mask)
    return lambda: SplitHeadCache(model, cell.mask)


def seed_of(seed: int, problem: int, draw: int) -> int:
    """The seed of one answer: the same under every method, so that they share their luck."""
    return zlib.crc32(f"{seed}:{problem}:{draw}".encode())
