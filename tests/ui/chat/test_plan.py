"""The page's fields as settings and masks; long prompts; what ships with the app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlkv.errors import UserError
from rlkv.models import load_model
from rlkv.tasks.tracing import solve
from storage.database import open_database
from tests.ui.chat.stage import MOST, said
from ui.catalogue import SHIPPED
from ui.chat import filler, reach, recorded, sides
from ui.chat.plan import question_of, settings_of
from ui.chat.sides import FULL, RANDOM, Choice
from ui.quotas import Quotas
from ui.studio import Settings, Studio

ROWS: list[Any] = [FULL, None, None, None, SHIPPED, 0.5, 4, 16, RANDOM, 0.5, 4, 16]
SAMPLING: list[Any] = [False, 0.7, 0.9, 3, 64, "", True, False]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(Settings(), open_database(tmp_path))


def test_the_chips_choose_the_sides() -> None:
    for name, slots in (("both", (0, 1)), ("first", (0,)), ("second", (1,)), ("three", (0, 1, 2))):
        settings = settings_of("tracer", name, ROWS, SAMPLING)
        assert settings.slots == slots
        assert [one.key for one in settings.sides] == [(FULL, SHIPPED, RANDOM)[s] for s in slots]


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [(1, "hot", "temperature"), (1, float("nan"), "temperature"), (2, 0, "[Tt]op-p"),
     (3, -1, "seed"), (4, 0, "longest"), (4, 10**9, "longest"), (3, True, "seed")],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(at: int, value: Any, words: str) -> None:
    sampling = [*SAMPLING]
    sampling[at] = value
    with pytest.raises(UserError, match=words):
        settings_of("tracer", "both", ROWS, sampling)


@pytest.mark.parametrize(
    "row",
    [
        [SHIPPED, 2, 4, 16],
        [SHIPPED, 0.5, -1, 16],
        [SHIPPED, 0.5, 4, 0],
        [SHIPPED, None, 4, 16],
        [SHIPPED, 0.5, float("inf"), 16],
    ],
)
def test_masks_that_make_no_sense_are_refused(row: list[Any]) -> None:
    with pytest.raises(UserError):
        settings_of("tracer", "both", [*ROWS[:4], *row, *ROWS[8:]], SAMPLING)


def test_a_blind_comparison_needs_two_sides() -> None:
    with pytest.raises(UserError, match="two sides"):
        settings_of("tracer", "three", ROWS, [True, *SAMPLING[1:]])


def test_questions_have_a_length() -> None:
    for text in ("", "  \n", None):
        with pytest.raises(UserError, match="Write a question"):
            question_of(text, "tracer")
    with pytest.raises(UserError, match="too long"):
        question_of("x" * 5000, "tracer")
    assert question_of(" x " * 5000, "other")


def test_a_mask_is_cut_and_given_its_window(studio: Studio) -> None:
    assert sides.mask_of(studio, Choice(FULL, 0.5, 4, 16), (4, 8), "tracer") is None
    mask = sides.mask_of(studio, Choice(SHIPPED, 0.8, 5, 33), (4, 8), "tracer")
    assert mask is not None
    assert (mask.n_kept, mask.sink, mask.recent) == (32 - 25, 5, 33)
    with pytest.raises(UserError, match="learned on this model"):
        sides.mask_of(studio, Choice(SHIPPED, 0.5, 4, 16), (30, 3), "other")
    with pytest.raises(UserError, match="is gone"):
        sides.mask_of(studio, Choice("nothing", 0.5, 4, 16), (4, 8), "tracer")


def test_masks_of_another_shape_are_not_offered(studio: Studio) -> None:
    own = [key for _, key in sides.choices(studio, "tracer", (4, 8))]
    assert own[0] == SHIPPED
    assert [key for _, key in sides.choices(studio, "other", (7, 7))] == [RANDOM, FULL]
    assert "chosen at random" in sides.no_mask_words(studio, "other", (7, 7))
    assert sides.no_mask_words(studio, "tracer", (4, 8)) == ""


def test_masks_that_another_model_learned_are_named_so(studio: Studio) -> None:
    labels = [label for label, _ in sides.choices(studio, "other", (4, 8))]
    assert labels[0].endswith("learned on another model")
    assert labels[-2:] == ["Random heads", "Full cache"]
    assert "another model of the same shape learned" in sides.no_mask_words(studio, "other", (4, 8))


def test_compressed_sides_have_colours_of_their_own() -> None:
    three = said(None, MOST, MOST)
    assert [one["role"] for one in three] == ["full", "comp", "comp2"]
    assert three[1]["name"] == "few, 88 %"
    assert said(None, MOST)[1]["name"] == "Compressed"


def test_a_side_calls_its_mask_as_the_chooser_does(studio: Studio) -> None:
    chosen = [Choice(FULL, 0.5, 4, 16), Choice(SHIPPED, 0.5, 4, 16), Choice(RANDOM, 0.5, 4, 16)]
    masks = [sides.mask_of(studio, one, (4, 8), "tracer") for one in chosen]
    _, shipped, _ = sides.facts(masks, (0, 1, 2), [one.key for one in chosen])
    label, _ = sides.choices(studio, "tracer", (4, 8))[0]
    assert label.startswith("Shipped example")
    assert shipped["name"] == "Shipped example, 50 %"
    assert shipped["hint"].startswith("Shipped example: 50 %")


def test_filler_reaches_its_length_and_hides_a_fact() -> None:
    count = len  # a character a token: lengths that can be checked by eye
    text = filler.needle(count, 4000, seed=1)
    assert 3900 < len(text) <= 4000
    fact = next(line for line in text.split(". ") if "secret number" in line)
    number = fact.rpartition(" ")[2]
    assert text.count(number) == 1
    assert 0.25 < text.index(number) / len(text) < 0.45
    assert text != filler.needle(count, 4000, seed=2)


def test_a_long_puzzle_is_one_that_the_embedded_model_reads() -> None:
    _, tokenizer = load_model("tracer")
    count = filler.count_with(tokenizer)
    text = filler.puzzle(count, 512, seed=0)
    assert 500 < count(text) <= 512
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]
    assert solve(text)


def test_lengths_that_do_not_fit_say_why() -> None:
    assert filler.why_not(512, 256, 1024) == ""
    assert "1,024" in filler.why_not(4096, 256, 1024)


def test_a_length_that_leaves_no_room_for_the_answer_is_filled_to_what_does() -> None:
    assert [filler.fitting(n, 512, 8192) for n in (4096, 8192, 32768)] == [4096, 7680, 0]
    # No more than the length before is no length of its own.
    assert filler.fitting(1024, 512, 1024) == 0
    assert filler.why_not(1024, 512, 1024)
    assert filler.fitting(256, 300, 256) == 0


def test_the_embedded_model_is_read_beyond_its_training_as_far_as_a_copy_allows(
    studio: Studio, tmp_path: Path
) -> None:
    assert reach.reach(studio, "tracer", 1024) == reach.beyond(studio, "tracer") == 32768
    assert reach.reach(studio, "other", 8192) == 8192
    assert reach.beyond(studio, "other") is None
    for allowed, filled, answered in ((2048, 2048, 2048), (300, 300, 1024)):
        shared = Settings(shared=True, quotas=Quotas(context=allowed))
        copy = Studio(shared, open_database(tmp_path))
        assert reach.reach(copy, "tracer", 1024) == filled
        assert reach.beyond(copy, "tracer") == answered  # what was typed is read as ever
    long = "a=1; " * 5000
    assert question_of(long, "tracer", beyond=32768)
    with pytest.raises(UserError, match="too long"):
        question_of(long, "tracer", beyond=2048)


def test_what_ships_can_be_played() -> None:
    assert len(recorded.offered()) >= 3
    for name in recorded.names():
        answers = [node for node in recorded.nodes(name) if node.role == "assistant"]
        assert answers
        for side in (side for answer in answers for side in answer.answer["sides"]):
            columns = side["cols"]
            assert {len(column) for column in columns.values()} == {side["now"]["tokens"]}
            assert columns["b"][-1] == side["now"]["bytes"]
            assert side["opening"] + "".join(columns["t"]) == side["text"]
