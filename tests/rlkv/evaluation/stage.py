"""What the tests of evaluations share: a small one, and somebody who keeps its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlkv.evaluation.config import EvalConfig, MaskEntry, make_eval_config
from rlkv.evaluation.samples import Place, Sample
from rlkv.masks import HeadMask
from rlkv.tasks import Problem

MASK = Path(__file__).parents[3] / "examples" / "masks" / "tracer"


def small(**values: Any) -> EvalConfig:
    """Eight problems, the learned mask and a random one at 50 %."""
    entry = MaskEntry.of(HeadMask.load(MASK))
    given = {
        "masks": [entry],
        "methods": ["learned", "random"],
        "sparsities": [0.5],
        "problems": 8,
        "random_seeds": 1,
        "rows_at_once": 4,
    }
    return make_eval_config({**given, **values})


class Keeper:
    """Keeps samples in memory, counts what comes twice, and stops after so many."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.samples: dict[Place, Sample] = {}
        self.stop_after = stop_after
        self.asked: list[Place] = []
        self.events: list[str] = []
        self.cells: Sequence[tuple[str, Mapping[str, Any]]] = ()
        self.problems: Sequence[Problem] = ()

    def event(self, text: str) -> None:
        self.events.append(text)

    def phase(self, name: str, done: int, total: int) -> None:
        pass

    def plan(
        self,
        problems: Sequence[Problem],
        cells: Sequence[tuple[str, Mapping[str, Any]]],
        draws: int,
    ) -> set[Place]:
        self.problems, self.cells = problems, cells
        return set(self.samples)

    def keep(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            self.asked.append(sample.place)
            self.samples[sample.place] = sample

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.asked) >= self.stop_after
