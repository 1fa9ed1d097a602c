"""How one row is measured: all contenders in one process, on one loaded model.

1. Warm-up: each contender is fed a first and a last chunk of a prompt and some tokens more,
   so that what is built or loaded once for steps of these shapes is no part of any number. An
   optional contender that can't serve this model fails here and is left out.
2. Peak memory: each contender alone fills a cache of its own (the prompt in chunks, then the
   first decoded tokens). Its peak is the growth above the level before it began; how that is
   read is told in `memory.peak_growth`. The cache is freed before the next contender begins.
   Contenders that know no mask do these two steps once for all masks.
3. The race: the prompt in turns by chunk, decoding in turns by token, in random order. Then the
   bytes that each cache holds. Prefill speed is by the sum of a contender's chunks, decoding
   speed by the median of its tokens.
4. Attention alone: some further tokens for our two caches, with a stopwatch around the
   attention function (`attention_time`).

The prompt is random tokens: how long the work takes does not depend on what they say. Where only
decoding is asked for, caches are filled with random keys and values instead of reading a prompt,
which takes seconds where a large model takes an hour; prefill and peak then go unmeasured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch
from transformers import PreTrainedModel

from rlkv.benchmark.attention_time import attention_seconds
from rlkv.benchmark.contenders import Contender, captured, others, ours, stock
from rlkv.benchmark.memory import peak_growth
from rlkv.benchmark.race import Race, Run
from rlkv.benchmark.rows import Numbers, Row, setting
from rlkv.errors import first_line
from rlkv.generation import PREFILL_CHUNK
from rlkv.masks import HeadMask
from rlkv.models import model_spec

WARM_UP_TOKENS = 2
PEAK_TOKENS = 4
"""Tokens decoded while the peak is watched; later ones repeat what these do."""
OURS = ("split", "full")

Peaks = dict[str, int | None]


class Measuring:
    """Measures rows of one model; `note` is told who was left out and why."""

    def __init__(
        self,
        model: PreTrainedModel,
        new_tokens: int,
        with_others: bool,
        reads: bool,
        note: Callable[[str], None],
    ) -> None:
        self.model = model
        self.spec = model_spec(model)
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.new_tokens = new_tokens
        self.with_others = with_others
        self.reads = reads
        self._note = note
        self._noted: set[str] = set()
        for weight in model.parameters():
            # Weights mapped from a file become resident when first read: not within a peak.
            weight.sum()

    def label(self, mask: HeadMask, context: int, batch: int) -> str:
        """What a row is about, for people."""
        return f"context {context}, {setting(batch, mask.sparsity, self.dtype)}"

    def row(self, mask: HeadMask, context: int, batch: int, peaks: Peaks) -> Row:
        """Measures one combination. `peaks` gives those that are known and takes the others."""
        ids = self._prompt(context, batch)
        contenders = [*ours(self.model, mask), stock(self.model)]
        if self.with_others:
            contenders += captured(self.model, mask) + others(self.model)
        contenders = [each for each in contenders if self._alone(each, ids, peaks)]
        capacity = context + self.new_tokens
        race = Race([self._run(each, capacity) for each in contenders], self._left_out)
        race.prefill(ids)
        race.decode(ids[:, :1], self.new_tokens)
        numbers = {run.contender.name: _numbers(run, ids, peaks) for run in race.runs}
        race.runs = [run for run in race.runs if run.contender.name in OURS]
        seconds = attention_seconds(race, ids[:, :1], capacity - 1)
        return self._as_row(mask, ids, numbers, seconds)

    def _prompt(self, context: int, batch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        words = self.model.get_input_embeddings().num_embeddings
        ids = torch.randint(2, words, (batch, context), generator=generator)
        return ids.to(self.model.device)

    def _alone(self, contender: Contender, ids: torch.Tensor, peaks: Peaks) -> bool:
        """Warms up and measures the peak, unless it is known; False if the contender failed."""
        if contender.name in peaks:
            return True
        try:
            self._warm_up(contender, ids)
            peaks[contender.name] = self._peak(contender, ids)
        except Exception as error:
            if not contender.optional:
                raise
            self._left_out(contender, error)
            return False
        return True

    def _warm_up(self, contender: Contender, ids: torch.Tensor) -> None:
        last = ids.shape[1] % PREFILL_CHUNK or PREFILL_CHUNK
        few = ids[:, : PREFILL_CHUNK + last]
        self._run(contender, few.shape[1] + WARM_UP_TOKENS).fill(few, WARM_UP_TOKENS)

    def _run(self, contender: Contender, capacity: int) -> Run:
        return Run(self.model, contender, capacity, self.reads)

    def _peak(self, contender: Contender, ids: torch.Tensor) -> int | None:
        if not self.reads:
            return None

        def work() -> None:
            run = self._run(contender, ids.shape[1] + self.new_tokens)
            run.fill(ids, min(PEAK_TOKENS, self.new_tokens))

        return peak_growth(self.model.device, work)

    def _left_out(self, contender: Contender, error: Exception) -> None:
        text = f"{contender.name} is left out: {first_line(error)}"
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)

    def _as_row(
        self,
        mask: HeadMask,
        ids: torch.Tensor,
        numbers: dict[str, Numbers],
        attention: dict[str, float],
    ) -> Row:
        batch, context = ids.shape
        length = context + self.new_tokens
        formula = self.spec.kv_bytes(mask, length, batch)
        formula_full = self.spec.kv_bytes(mask.keep_best(mask.kept.size), length, batch)
        split, full, usual = (asdict(numbers.pop(name)) for name in (*OURS, "stock"))
        return Row(
            context=context,
            batch=batch,
            sparsity=mask.sparsity,
            dtype=self.dtype,
            new_tokens=self.new_tokens,
            kv_bytes_formula=formula,
            kv_bytes_formula_full=formula_full,
            decode_attention_s=attention["split"],
            decode_attention_s_full=attention["full"],
            attention_speedup=attention["full"] / attention["split"],
            attention_speedup_ideal=formula_full / formula,
            others=numbers,
            **split,
            **{f"{name}_full": value for name, value in full.items()},
            **{f"{name}_stock": value for name, value in usual.items()},
        )


def _numbers(run: Run, ids: torch.Tensor, peaks: Peaks) -> Numbers:
    return Numbers(
        kv_bytes=run.nbytes,
        peak_bytes=peaks[run.contender.name],
        prefill_tokens_per_s=run.prefill_speed(ids.numel()),
        decode_tokens_per_s=run.decode_speed(ids.shape[0]),
    )
