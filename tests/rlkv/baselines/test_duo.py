"""DuoAttention's procedure finds what was planted, and texts hold what they ask for."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from rlkv import gates
from rlkv.baselines.duo import DuoStep, distance, distilled, duo_scores
from rlkv.baselines.duo_settings import DuoSettings
from rlkv.baselines.passkeys import PasskeyText, passkey_texts
from rlkv.errors import UserError
from rlkv.explore.stopping import Stopped
from rlkv.explore.watching import rows_of
from rlkv.models import load_model
from rlkv.streaming import StreamingWindow
from rlkv.tasks.words import KEYS, VALUES
from tests.rlkv.explore.planted import HALF, INDUCTION, VOCAB, induction_model
from tests.rlkv.families import CONFIGS, batch, tiny


@pytest.fixture(scope="module")
def tracer() -> tuple[Any, Any]:
    return load_model("tracer")


KNOWN = """
The third passkey is What Passkey . ? : , ! 3 1 2 4 5 stood by the and nobody looked at Past there
was one more They carried to came back with no said In morning lay near under A cat sat
"""


class Words:
    """A stand-in for a tokenizer that knows words and marks, one token each."""

    unk_token_id = 0

    def __init__(self) -> None:
        words = [*KNOWN.split(), *KEYS, *VALUES]
        self.ids = {word: i + 2 for i, word in enumerate(dict.fromkeys(words))}

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        for mark in ".?:,!":
            text = text.replace(mark, f" {mark} ")
        ids = [self.ids.get(word, 0) for word in text.split()]
        return {"input_ids": [1, *ids] if add_special_tokens else ids}

    def words(self, ids: Any) -> list[str]:
        names = {i: word for word, i in self.ids.items()}
        return [names.get(int(i), "") for i in ids]


def small(**changes: Any) -> DuoSettings:
    values: dict[str, Any] = {
        "passkeys": 3, "passkey_words": 4, "lengths": 3, "shortest": 60, "longest": 120,
        "sink": 2, "recent": 8, "steps": 3,
    }  # fmt: skip
    return DuoSettings(**{**values, **changes})


@torch.no_grad()
def writing_model() -> PreTrainedModel:
    """The planted model, whose induction head now also writes down what it found."""
    model = induction_model()
    second = model.model.layers[1].self_attn
    second.v_proj.weight[HALF:, :HALF] = torch.eye(HALF)
    second.o_proj.weight[:HALF, 2 * HALF : 3 * HALF] = 4 * torch.eye(HALF)
    return model


class Repeated:
    """A list of random tokens and its repetition: needs the planted induction head."""

    def draw(self, length: int, rng: random.Random) -> PasskeyText:
        ids = rng.sample(range(2, VOCAB), length // 2)
        return PasskeyText((*ids, *ids), tuple(range(len(ids) + 1, 2 * len(ids))))


def test_the_planted_head_stays_and_the_others_fall() -> None:
    steps: list[DuoStep] = []
    settings = small(steps=80, lengths=2, shortest=40, longest=60)
    found = distilled(writing_model(), Repeated(), settings, on_step=steps.append)
    assert found.shape == (2, 2)
    assert found.dtype == np.float32
    assert found[INDUCTION] > 0.6
    assert np.delete(found.ravel(), 3).max() < 0.1
    assert [step.step for step in steps] == list(range(1, 81))
    assert steps[0].loss == pytest.approx(settings.penalty)  # all open: nothing differs
    assert steps[-1].loss < 0.8 * steps[0].loss
    first = settings.learning_rate * settings.rate(0)  # Adam's first step is the whole rate
    assert steps[0].mean_gate == pytest.approx(1 - first, abs=1e-5)


def test_without_a_penalty_nothing_moves_and_without_passkeys_far_away_all_fall() -> None:
    """What moves gates is only the penalty, and what holds them only the hidden states."""
    still = distilled(writing_model(), Repeated(), small(steps=3, penalty=0.0))
    np.testing.assert_allclose(still, 1.0, atol=1e-6)
    wide = small(steps=80, recent=100, lengths=1, shortest=40, longest=40)
    assert distilled(writing_model(), Repeated(), wide).max() < 0.1


def test_gates_that_have_fallen_stay_at_zero() -> None:
    """A rate that overshoots: what lies below 0 is neither acted on, paid for, nor given back."""
    steps: list[DuoStep] = []
    values = {"steps": 6, "recent": 100, "lengths": 1, "shortest": 40, "longest": 40}
    settings = small(**values, learning_rate=0.9, warm_up=0.0, decay=0.0, penalty=1.0)
    found = distilled(writing_model(), Repeated(), settings, on_step=steps.append)
    assert [step.loss for step in steps[2:]] == [0.0] * 4
    assert found.min() == found.max() == 0.0


@pytest.mark.parametrize("family", CONFIGS)
@torch.no_grad()
def test_the_distance_is_that_of_attached_gates(family: str) -> None:
    model, ids = tiny(family), batch(1, 30)["input_ids"]
    text = PasskeyText(tuple(ids[0].tolist()), (20, 21, 29))
    open_ones = gates.Gates(3, 4, 2, 5)
    open_ones.values.copy_(torch.linspace(0, 1, 12).view(3, 4))
    gates_of = {module: (open_ones, row) for module, row in rows_of(model).items()}
    found = distance(model, text, gates_of)
    full = model(ids, output_hidden_states=True).hidden_states[-1]
    attached = gates.attach(model, sink=2, recent=5)
    attached.values.copy_(open_ones.values)
    gated = model(ids, output_hidden_states=True).hidden_states[-1]
    want = (gated - full)[0, [20, 21, 29]].square().mean()
    assert float(found) == pytest.approx(float(want), rel=1e-4)
    assert want > 1e-4
    assert float(distance(model, text, gates_of)) == pytest.approx(float(found), rel=1e-6)


def test_scores_of_the_embedded_model_come_from_the_seed_alone(tracer: tuple[Any, Any]) -> None:
    """Nothing is left on the model, and torch's own generator is not asked."""
    model, tokenizer = tracer
    settings = DuoSettings.fitted(model, seed=3).model_copy(update={"steps": 12})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        torch.manual_seed(0)
        first = duo_scores(model, tokenizer, settings)
    torch.manual_seed(1)
    np.testing.assert_array_equal(first, duo_scores(model, tokenizer, settings))
    assert first.shape == (4, 8)
    assert 0 <= first.min() < first.max() <= 1
    other = duo_scores(model, tokenizer, settings.model_copy(update={"seed": 4}))
    assert (other != first).any()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_it_ends_when_told(tracer: tuple[Any, Any]) -> None:
    steps: list[DuoStep] = []
    settings = DuoSettings.fitted(tracer[0])
    with pytest.raises(Stopped):
        duo_scores(*tracer, settings, on_step=steps.append, stop=lambda: len(steps) == 2)
    assert len(steps) == 2


def test_the_rate_goes_up_stays_and_goes_down() -> None:
    settings = DuoSettings()
    rates = [settings.rate(step) for step in range(2000)]
    assert rates[0] == 0.1
    assert rates[199] == 0.5
    assert set(rates[400:1600]) == {1.0}
    assert rates[1800] == 0.5
    assert rates[-1] == 0.1
    assert len(settings.lengths_of_texts()) == 50
    assert settings.lengths_of_texts()[::49] == [1000, 32_000]


def test_answers_repeat_the_passkeys_in_a_text_of_words() -> None:
    tokenizer: Any = Words()
    settings = small()
    texts = passkey_texts(tokenizer, settings)
    depths = []
    for seed in range(20):
        text = texts.draw(120, random.Random(seed))
        words, answer = tokenizer.words(text.ids), tokenizer.words(text.ids[i] for i in text.answer)
        assert 0 not in text.ids
        assert text.ids[0] == 1
        assert 105 <= len(words) <= 120
        assert len(answer) == 12
        for number in range(3):
            passkey = answer[4 * number : 4 * number + 4]
            assert set(passkey) <= set(VALUES)
            first = " ".join(words).find(f"Passkey {number + 1} is : {' '.join(passkey)} .")
            assert first > 0
            depths.append(first / len(" ".join(words)))
        questions = words[text.answer[0] - 10 :]
        assert questions.count("What") == 3
    assert min(depths) < 0.15 < 0.6 < max(depths)


def test_facts_are_hidden_among_definitions(tracer: tuple[Any, Any]) -> None:
    """Each answer is two facts of the text, found as the model's chain of thought does."""
    model, tokenizer = tracer
    settings = DuoSettings.fitted(model)
    texts = passkey_texts(tokenizer, settings)
    for seed in range(20):
        text = texts.draw(140, random.Random(seed))
        assert 130 <= len(text.ids) <= 140
        assert tokenizer.unk_token_id not in text.ids
        pieces = tokenizer.convert_ids_to_tokens(list(text.ids))
        assert pieces[0] == "<|user|>"
        turn = pieces.index("<|assistant|>")
        answers = [pieces[i] for i in text.answer]
        assert len(answers) == 8
        for i, at in enumerate(text.answer):
            assert at > turn
            assert pieces[:turn].count(answers[i]) == 1
            # x : a + b ; a=3 b=5
            operand = pieces[at - 4] if i % 2 == 0 else pieces[at - 3]
            assert operand == answers[i][0]


def test_a_text_of_ones_own_is_the_haystack(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("A cat sat! A cat lay.\nThe  eagle sat.", encoding="utf-8")
    tokenizer: Any = Words()
    texts = passkey_texts(tokenizer, small(text=str(path)))
    words = tokenizer.words(texts.draw(110, random.Random(0)).ids)
    assert words.count("cat") > 5
    assert "garden" not in words
    with pytest.raises(UserError, match="can't be read"):
        passkey_texts(tokenizer, small(text=str(tmp_path / "none.txt")))
    path.write_text(" \n")
    with pytest.raises(UserError, match="empty"):
        passkey_texts(tokenizer, small(text=str(path)))


def test_what_the_model_cannot_read_is_refused(tracer: tuple[Any, Any]) -> None:
    with pytest.raises(UserError, match="32000 tokens but the model reads at most 1024"):
        duo_scores(*tracer, DuoSettings())
    with pytest.raises(UserError, match="choose fewer or shorter"):
        duo_scores(tiny("llama"), Words(), small(passkeys=5, passkey_words=80))
    with pytest.raises(UserError, match="2 words"):
        passkey_texts(tracer[1], small())
    nothing: Any = Words()
    nothing.ids = {}
    with pytest.raises(UserError, match="neither words nor definitions"):
        passkey_texts(nothing, small())


def test_settings_are_fitted_to_what_a_model_reads(tracer: tuple[Any, Any]) -> None:
    assert DuoSettings.fitted(tracer[0]).longest == 144
    wide = tiny("llama", vocab_size=2000, max_position_embeddings=200)
    fitted = DuoSettings.fitted(wide, seed=2)
    assert fitted.longest == 200
    assert fitted.sink + fitted.recent < fitted.shortest / 4
    assert fitted.seed == 2
    assert fitted.learning_rate == DuoSettings().learning_rate
    assert DuoSettings.fitted(wide, window=StreamingWindow(1, 9)).recent == 9
