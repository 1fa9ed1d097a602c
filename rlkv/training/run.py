"""One gate-training job from settings to mask: sample, train, eliminate, measure.

Knows nothing of databases or screens; what happens is told to an observer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv import gates as gates_module
from rlkv.files import write_whole
from rlkv.gates import Gates
from rlkv.generation import prompt_ids
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks import Problem, Task, get_task
from rlkv.training import checkpoint, ranks
from rlkv.training.config import TrainConfig
from rlkv.training.elimination import Text, eliminate
from rlkv.training.grpo import GateTrainer, dataset_rows, make_trainer
from rlkv.training.hard_check import HardCheck
from rlkv.training.launching import check_batch
from rlkv.training.observer import STOPPED_IN, Observer
from rlkv.training.removed_heads import RemovedHeads
from rlkv.training.reporting import Reporter
from rlkv.training.result import as_mask, measured
from rlkv.training.rollout import Rollout
from rlkv.training.self_distillation import (
    Solution,
    SolutionFile,
    attempt,
    fingerprint,
    schedule,
    solved_only,
    stratified,
)
from rlkv.training.verifier import Verifier

ELIMINATION_STEPS = 4
"""Elimination reads as many answers as so many steps of training."""


def train(
    config: TrainConfig, folder: Path, observer: Observer, samples: Path | None = None
) -> HeadMask:
    """Runs or resumes the job in `folder` and returns the mask at 50 % sparsity.

    Args:
        samples: folder of the untouched model's answers, shared by jobs.

    Raises:
        UserError: if model, task or settings don't work out.
    """
    observer.event(f"Loading {config.model}")
    task = get_task(config.task)
    check_batch(config, ranks.world())
    device = ranks.device(config.device)
    model, tokenizer = load_model(config.model, device=device, dtype=config.dtype)
    job = Job(config, folder, observer, task, model, tokenizer)
    return job.run(samples or folder / "samples")


class Job:
    """The phases of one job on a loaded model."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        observer: Observer,
        task: Task,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.config, self.folder, self.observer, self.task = config, folder, observer, task
        self.model, self.tokenizer = model, tokenizer
        self.verifier = Verifier(task, tokenizer)

    def run(self, samples: Path) -> HeadMask:
        """All phases; a stop ends the current one and keeps what was learned."""
        config = self.config
        pool = ranks.from_main(lambda: self.sample(samples))
        gates = gates_module.attach(self.model, sink=config.sink, recent=config.recent)
        try:
            steps, notes = self.optimise(gates, pool)
            scores = gates.values.detach().cpu().numpy().copy()
            wanted = config.elimination and steps == config.steps and ranks.is_main()
            if wanted and not self.observer.should_stop():
                notes["gates"] = [[round(float(x), 6) for x in row] for row in scores]
                scores = self.eliminate(gates, pool)
            if wanted and self.observer.should_stop():
                notes[STOPPED_IN] = "elimination"
        finally:
            gates_module.detach(self.model)
        mask = as_mask(self.model, scores, config, steps, notes)
        if config.eval_problems and steps == config.steps and ranks.is_main():
            self.observer.event(f"Measuring the mask on {config.eval_problems} unseen problems")
            mask = measured(self.model, self.tokenizer, self.task, mask, config, self.observer)
        return mask

    # --- sampling ---------------------------------------------------------------------------

    def sample(self, samples: Path) -> list[Solution]:
        """The problems that the model solves by itself; kept in the folder for a resume."""
        path = self.folder / "pool.json"
        if path.is_file():
            return [_solution(row) for row in json.loads(path.read_text())]
        config, observer = self.config, self.observer
        length = config.max_new_tokens
        key = fingerprint(self.model, self.tokenizer, self.task, length)
        problems = self.task.problems(config.problems, seed=config.seed)
        observer.event(
            f"Sampling: which of {len(problems)} problems does the model solve by itself?"
        )

        def progress(done: int, total: int, right: int) -> bool:
            observer.phase("sampling", done, total)
            return not observer.should_stop()

        tried = attempt(
            self.model,
            self.tokenizer,
            self.task,
            problems,
            max_new_tokens=length,
            known=SolutionFile(samples / f"{key}.jsonl"),
            rows_at_once=config.rollout_rows,
            progress=progress,
        )
        if len(tried) < len(problems):  # stopped: what was found is in the file of samples
            return [s for s in tried if s.right]
        solved = solved_only(tried, self.task)
        pool = stratified(solved, config.pool, config.strata, config.seed)
        observer.event(f"{len(solved)} of {len(tried)} are solved, {len(pool)} of them kept")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps([asdict(s) for s in pool]))
        return pool

    # --- training ---------------------------------------------------------------------------

    def optimise(self, gates: Gates, pool: Sequence[Solution]) -> tuple[int, dict[str, Any]]:
        """Trains the gates; returns the step reached and notes for the mask."""
        config, observer = self.config, self.observer
        start = self._start()
        done = start[1] if start else 0
        if ranks.any_rank(observer.should_stop()):
            if start:
                checkpoint.load_gates(gates, start[0])
            return done, {}
        trainer = self._trainer(gates, [s.problem for s in pool])
        observer.resumed(done)  # what an attempt told of later steps is taken back
        if start:
            observer.event(f"Resuming after step {done}")
        else:
            shared = f" on {ranks.world()} processes" if ranks.world() > 1 else ""
            count = gates.values.numel()
            observer.event(f"Training {count} gates for {config.steps} steps{shared}")
        observer.phase("training", done, config.steps)
        trainer.train(resume_from_checkpoint=str(start[0]) if start else None)
        gap = trainer.largest_gap
        observer.event(
            f"Rollout and loss differ by {gap:.1e} nats at most in the log-probability of a token"
        )
        return int(trainer.state.global_step), {"largest_logprob_gap": gap}

    def _start(self) -> tuple[Path, int] | None:
        """The checkpoint to go on from and its step: rank 0's, in this rank's own folder.

        Each rank has left its random state there, on whichever node it runs.
        """
        found = ranks.from_main(self._checkpoint)
        if found is None:
            return None
        name, step = found
        ranks.share_files(self.folder / name)
        return self.folder / name, step

    def _checkpoint(self) -> tuple[str, int] | None:
        checkpoint.remove_torn(self.folder)
        newest = checkpoint.latest(self.folder)
        return (newest[0].name, newest[1]) if newest else None

    def _trainer(self, gates: Gates, problems: list[Problem]) -> GateTrainer:
        config = self.config
        # One long epoch in an order of our own: a resume then skips to exactly the same problem.
        order = schedule(problems, config.steps * config.prompts_per_step, seed=config.seed)
        trainer = make_trainer(
            self.model,
            self.tokenizer,
            gates,
            config,
            Dataset.from_list(dataset_rows(order)),
            self._reward,
            self.folder,
            [Reporter(gates, self.observer)],
        )
        check = HardCheck(
            trainer.sampler,
            self.verifier,
            problems,
            config.hard_every,
            trainer.log_value,
        )
        trainer.add_callback(check)
        return trainer

    def _reward(
        self,
        completion_ids: list[list[int]],
        answer: list[str],
        stop_reason: list[str],
        **columns: Any,
    ) -> list[float]:
        """By the rule of every other measuring here: right, and ended by itself."""
        drawn = [
            Rollout(ids, stop_reason=reason)
            for ids, reason in zip(completion_ids, stop_reason, strict=True)
        ]
        right = self.verifier.right(drawn, [Problem("", one) for one in answer])
        return [float(one) for one in right]

    # --- elimination --------------------------------------------------------------------------

    def eliminate(self, gates: Gates, pool: Sequence[Solution]) -> NDArray[np.float32]:
        """The ranking by removing heads under hard masks, `[layers, kv_heads]`."""
        self.observer.event("Elimination: taking heads away one by one")
        texts = [
            Text(prompt_ids(self.tokenizer, s.problem.prompt), s.ids)
            for s in pool[: ELIMINATION_STEPS * self.config.rows]
        ]

        def progress(removed: int, heads: int) -> bool:
            self.observer.phase("elimination", removed, heads)
            return not self.observer.should_stop()

        record = RemovedHeads(self.folder)
        return eliminate(self.model, gates, texts, progress, self.config.rows_at_once, record)


def _solution(row: dict[str, Any]) -> Solution:
    return Solution(Problem(**row["problem"]), tuple(row["ids"]), row["right"])
