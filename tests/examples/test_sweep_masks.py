import runpy
from pathlib import Path

import numpy as np
import pytest

from rlkv.masks import HeadMask

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent.parent / "examples" / "sweep_masks.py"))
agreement, contenders, ranks_of = (SCRIPT[n] for n in ("agreement", "contenders", "ranks_of"))


def test_every_row_keeps_the_same_number_of_heads() -> None:
    scores = np.random.default_rng(0).random((6, 3), dtype=np.float32)
    mask = HeadMask.from_scores(scores, sparsity=0.3, sink=2, recent=9, name="mine")
    rows = contenders([mask], draws=2)
    for name, cut in rows.items():
        for one in cut(0.5):
            assert (one.n_kept, one.sink, one.recent) == (9, 2, 9), name
    (first,), (last,) = rows["first layers kept"](0.5), rows["last layers kept"](0.5)
    assert first.kept[:3].all()
    assert last.kept[3:].all()
    (learned,), (inverse,) = rows["mine"](0.5), rows["lowest-ranked kept instead"](0.5)
    assert not (learned.kept & inverse.kept).any()


def test_agreement_reads_the_gates_behind_the_ranks() -> None:
    gates = np.array([[0.1, 0.9], [0.4, 0.4]], dtype=np.float32)
    one = HeadMask.from_scores(gates, name="a")
    other = HeadMask.from_scores(1 - gates, name="b", info={"gates": gates.tolist()})
    assert agreement(one, other).startswith("a / b: Spearman 1.00, ")
    assert ranks_of(gates.flatten()) == pytest.approx([0, 3, 1.5, 1.5])
