"""An evaluation asks everything once, also after interruptions, and tells how answers ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from rlkv.evaluation import ranking, run
from rlkv.evaluation.accuracy import accuracy
from rlkv.evaluation.config import EvalConfig
from rlkv.evaluation.run import evaluate
from rlkv.evaluation.samples import Sample, verdict
from rlkv.explore.probes import ProbeText, probe_texts
from rlkv.generation import ends_in_loop, prompt_ids
from rlkv.masks import HeadMask
from rlkv.models import load_model, model_spec
from rlkv.tasks import get_task
from rlkv.training.rollout import rollouts
from tests.rlkv.evaluation.stage import MASK, Keeper, small


def whole(config: EvalConfig, folder: Path) -> Keeper:
    keeper = Keeper()
    assert evaluate(config, folder, keeper)
    return keeper


def spoken(keeper: Keeper) -> dict[object, tuple[str, str, int, int]]:
    """What was answered, and in how many bytes."""
    return {place: (s.text, s.verdict, s.tokens, s.kv_bytes) for place, s in keeper.samples.items()}


def test_every_problem_is_asked_once_under_every_cell(tmp_path: Path) -> None:
    keeper = whole(small(), tmp_path)
    assert [key for key, _ in keeper.cells] == ["full", "learned-0@0.5", "random-0@0.5"]
    assert len(keeper.asked) == len(set(keeper.asked)) == 3 * 8
    full = [s for s in keeper.samples.values() if s.cell == "full"]
    assert [s.verdict for s in full] == ["right"] * 8
    assert all("</think>" in s.text for s in full)


def test_an_answer_is_what_the_model_says_alone(tmp_path: Path) -> None:
    """Batches, padding and ended neighbours change nothing: against plain single-row decoding."""
    keeper = whole(small(problems=3, methods=["learned"]), tmp_path)
    model, tokenizer = load_model("tracer")
    mask = HeadMask.load(MASK).at_sparsity(0.5)
    for number, problem in enumerate(get_task("tracing").problems(3, seed=1, split="test")):
        ids = torch.tensor([prompt_ids(tokenizer, problem.prompt)])
        cache = SplitHeadCache(model, mask)
        out = model.generate(ids, past_key_values=cache, max_new_tokens=112, do_sample=False)
        sample = keeper.samples["learned-0@0.5", number, 0]
        told = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert sample.text == "<think>" + told  # the template opened it
        assert sample.length == cache.get_seq_length()
        assert sample.tokens == out.shape[1] - ids.shape[1]


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(small(), marks=pytest.mark.slow),
        small(temperature=1.0, samples=2, problems=4),
    ],
)
def test_interrupted_anywhere_it_goes_on_without_repeating_or_losing(
    tmp_path: Path, config: EvalConfig
) -> None:
    expected = whole(config, tmp_path)
    for stop_after in (0, 1, 7, 15):
        keeper = Keeper(stop_after)
        assert not evaluate(config, tmp_path, keeper)
        had = len(keeper.asked)
        assert stop_after <= had < len(expected.asked)
        keeper.stop_after = None
        assert evaluate(config, tmp_path, keeper)
        assert len(keeper.asked) == len(set(keeper.asked))
        assert spoken(keeper) == spoken(expected)


def test_drawn_answers_differ_by_draw_and_seed_alone(tmp_path: Path) -> None:
    config = small(temperature=1.5, samples=2, problems=4, methods=[], masks=[])
    first, again = whole(config, tmp_path), whole(config, tmp_path)
    other = whole(config.model_copy(update={"rows_at_once": 1}), tmp_path)
    assert spoken(first) == spoken(again) == spoken(other)
    texts = {place: answer[0] for place, answer in spoken(first).items()}
    assert any(texts["full", n, 0] != texts["full", n, 1] for n in range(4))
    fresh = whole(config.model_copy(update={"temperature": 0.0}), tmp_path)
    assert len(fresh.asked) == 4  # greedy needs no second draw


@pytest.mark.slow
def test_out_of_memory_halves_the_rows_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = rollouts

    def short(model: object, prompts: list[object], *rest: object, **more: object) -> object:
        if len(prompts) > 2:
            raise MemoryError
        return plain(model, prompts, *rest, **more)  # type: ignore[arg-type]

    expected = whole(small(), tmp_path)
    monkeypatch.setattr(run, "rollouts", short)
    keeper = whole(small(), tmp_path)
    assert spoken(keeper) == spoken(expected)
    assert [e for e in keeper.events if "Out of memory" in e] == [
        "Out of memory with 4 rows at once: going on with half"
    ]
    monkeypatch.setattr(run, "rollouts", lambda *a, **k: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(UserError, match="single answer"):
        whole(small(), tmp_path)


def test_rankings_are_made_once_and_kept(tmp_path: Path) -> None:
    config = small(methods=["far"], masks=[], probes=4, problems=2)
    first = whole(config, tmp_path)
    again = whole(config, tmp_path)
    assert [e for e in first.events if "Ranking" in e] == [
        "Ranking the heads: Attention on far tokens"
    ]
    assert not [e for e in again.events if "Ranking" in e]
    assert spoken(first) == spoken(again)


def test_a_mask_of_another_shape_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    config = small()
    wrong = config.masks[0].model_copy(
        update={"layers": config.masks[0].kv_heads, "kv_heads": config.masks[0].layers}
    )
    keeper = Keeper()
    with pytest.raises(UserError, match="choose a mask learned on this model"):
        evaluate(config.model_copy(update={"masks": (wrong,)}), tmp_path, keeper)
    assert not keeper.asked


@pytest.mark.parametrize(
    ("right", "stop", "expected"),
    [
        (True, "end", "right"),
        (False, "end", "wrong"),
        (True, "length", "overlong"),  # it has not ended: nobody knows whether it would stay right
        (False, "length", "overlong"),
        (True, "repetition", "repetitive"),
    ],
)
def test_every_answer_has_one_verdict(right: bool, stop: str, expected: str) -> None:
    assert verdict(right, stop) == expected


def test_an_answer_cut_off_in_a_loop_is_repetitive(tmp_path: Path) -> None:
    """A model whose heads see the newest token alone goes round."""
    keeper = whole(small(methods=["streaming"], masks=[], sink=0, recent=1), tmp_path)
    blind = [s for s in keeper.samples.values() if s.cell != "full"]
    assert {(s.verdict, s.stop) for s in blind} == {("repetitive", "length")}
    assert {s.verdict for s in keeper.samples.values() if s.cell == "full"} == {"right"}


@pytest.mark.parametrize(
    ("ids", "looping"),
    [
        ([*range(50), *[1, 2, 3] * 8], True),
        ([*range(50), *[1, 2, 3] * 7], False),  # 21 tokens
        ([*range(9), *list(range(10, 30)) * 3], True),
        ([*range(9), *list(range(10, 30)) * 2], False),  # only twice
        ([7] * 23, False),
        ([7] * 24, True),
        ([], False),
    ],
)
def test_a_loop_at_the_end(ids: list[int], looping: bool) -> None:
    assert ends_in_loop(ids) == looping
    assert verdict(True, "length", looping) == ("repetitive" if looping else "overlong")
    assert verdict(True, "end", looping) == "right"


def test_a_limit_makes_overlong_answers(tmp_path: Path) -> None:
    keeper = whole(small(max_new_tokens=10, methods=[], masks=[], problems=2), tmp_path)
    for sample in keeper.samples.values():
        assert (sample.verdict, sample.stop, sample.tokens) == ("overlong", "length", 10)
        assert isinstance(replace(sample), Sample)
        assert sample.kv_bytes > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda texts: texts[:2], "Only 2 of 3 right answers were found for it"),
        (
            lambda texts: [replace(text, right=False) for text in texts],
            "The model got none of these problems right: wrong answers are read",
        ),
        (lambda texts: texts, None),
    ],
)
def test_the_log_says_on_which_answers_a_ranking_stands(
    change: Callable[[list[ProbeText]], list[ProbeText]],
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranking, "probe_texts", lambda *a, **kw: change(probe_texts(*a, **kw)))
    keeper = Keeper()
    config = small(methods=["far"], masks=[], probes=3)
    ranking.rankings(*load_model("tracer"), config, tmp_path, keeper)
    assert keeper.events[1:] == ([said] if said else [])


def test_an_answer_ends_where_the_model_reads_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest prompt decides, since all answers have the same limit."""
    problems = get_task("tracing").problems(8, seed=1, split="test")
    monkeypatch.setattr(run, "max_length", lambda config: 100)
    asking = run.Asking(*load_model("tracer"), small(max_new_tokens=112), problems, Keeper())
    lengths = [len(prompt) for prompt in asking.prompts]
    assert min(lengths) < max(lengths)
    assert asking.draw.max_new_tokens == 100 - max(lengths)


def test_verdicts_at_once_are_in_the_order_of_the_problems() -> None:
    """Asked by the length of their prompts, so that batches need little padding."""
    model, tokenizer = load_model("tracer")
    task, mask = get_task("tracing"), HeadMask.full(4, 8)
    problems = sorted(task.problems(4, seed=1), key=lambda p: -len(p.prompt))
    problems[0] = replace(problems[0], answer="?")
    found = accuracy(model, tokenizer, task, problems, mask, rows_at_once=4)
    assert found.verdicts == (False, True, True, True)
    assert found.value == 0.75
    tokens = [len(prompt_ids(tokenizer, p.prompt)) for p in problems]
    lengths = sum(tokens) / 4 + found.mean_tokens - 1  # the last one is not fed
    assert found.kv_bytes == pytest.approx(lengths * model_spec(model).kv_bytes(mask, 1), abs=1)
