"""The chat page's numbers as a person reads them: the text on screen against the engine's record.

`test_chat.py` compares the data behind them; here words are read back into numbers.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from rlkv.dialogue import Difference, Frame, Message, Sampling, SideSpec, converse
from rlkv.models import load_model
from tests.browser.chat import (
    COMPRESSED,
    QUESTION,
    ask,
    cut,
    open_chat,
    read_bytes,
    read_figures,
    read_shares,
    shown,
)
from ui.catalogue import shipped

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SPARSITY = 0.85
"""At which the sides part after some tokens, so that there is something of everything to read."""


@cache
def frames() -> list[Frame]:
    """The same answer, of the engine alone."""
    mask = shipped()
    assert mask is not None
    history = (Message("user", QUESTION),)
    specs = [SideSpec(None, history), SideSpec(mask.at_sparsity(SPARSITY), history)]
    return list(converse(*load_model("tracer"), specs, Sampling(256)))


def difference() -> tuple[Difference, list[float]]:
    """Where the sides part, and both candidates' probabilities in the order they are told."""
    found = frames()[-1].differences[1]
    assert found is not None
    assert found.probabilities is not None
    by_candidate = zip(*found.probabilities, strict=True)
    shares = [p for pair in by_candidate for p in pair if p is not None]
    assert len(shares) == 4
    return found, shares


def answered(page: Page) -> Locator:
    open_chat(page)
    cut(page, SPARSITY)
    return ask(page, QUESTION)


def near(share: float) -> Any:
    """A share as the page writes it: whole per cents, one digit below ten."""
    return pytest.approx(share, abs=0.0051 if share >= 0.0995 else 0.00051)


def test_the_figures_under_each_answer(page: Page) -> None:
    turn, frame = answered(page), frames()[-1]
    for i, state in enumerate(frame.sides):
        side = turn.locator(".side").nth(i)
        said, sent = read_figures(side), shown(side)
        told = {"bytes": state.kv_bytes, "formula": state.kv_bytes_formula}
        assert said.pop("tokens") == state.n_tokens
        for name, value in told.items():
            assert said.pop(name) == pytest.approx(value, rel=0.005), name
        # Times are of this run: those that were sent with the answer.
        assert said.pop("speed") == pytest.approx(sent["speed"], abs=0.051)
        assert said.pop("first") == pytest.approx(sent["first"], abs=0.0051)
        assert said == ({"prefix": frame.common_prefix(1)} if i else {})


def test_the_line_of_the_first_difference(page: Page) -> None:
    line = answered(page).locator(".same-line")
    found, shares = difference()
    chips = [line.locator(".chip").nth(k).inner_text().strip("“”") for k in (0, 1)]
    assert chips == [one[1].strip() for one in found.tokens if one]
    expect(line).to_contain_text(f"identical for the first {found.at} tokens")
    assert read_shares(line.inner_text()) == [near(p) for p in shares]


def test_the_card_of_every_token(page: Page) -> None:
    side, card = answered(page).locator(COMPRESSED), page.locator(".tok-card")
    found, shares = difference()
    side.locator(".fold summary").click()
    side.locator(".token-text").focus()
    seen = set()
    for i, token in enumerate(frames()[-1].sides[1].tokens):
        page.keyboard.press("ArrowRight")
        expect(card).to_contain_text(f"token {i + 1}")
        text = card.inner_text()
        own, *others = read_shares(text)
        assert own == near(token.probability), i
        assert others == ([near(p) for p in shares] if i == found.at else []), i
        kl = re.search(r"KL from the first side ([\d.e+-]+) nats", text)
        assert (kl is None) == (token.kl is None), i
        if kl is not None and token.kl is not None:
            assert float(kl[1]) == pytest.approx(token.kl, rel=0.06, abs=1e-6), i
            seen.add(kl[1])
    assert len(seen) > 5


def test_what_is_saved_and_the_key_of_the_curve(page: Page) -> None:
    answered(page)
    sides = frames()[-1].sides
    length = min(state.length for state in sides)
    held = [
        max(one.sides[i].kv_bytes for one in frames() if one.sides[i].length <= length)
        for i in (0, 1)
    ]  # fmt: skip
    expect(page.locator(".mem-words")).to_have_text(f"at {length:,} tokens")
    saved = page.locator("[data-figure=saved]").inner_text()
    assert read_shares(saved) == [pytest.approx(1 - held[1] / held[0], abs=0.0051)]
    for i, state in enumerate(sides):
        key = page.locator(".mem-key b").nth(i)
        assert read_bytes(key) == pytest.approx(state.kv_bytes, rel=0.005)
