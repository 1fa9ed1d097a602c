"""Words and their definitions."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ui
from rlkv.masks import HeadMask
from ui.glossary import TERMS, glossary_list, term


def test_all_words_of_the_field_are_there() -> None:
    wanted = (
        "kv head, layer, gate, rank, sparsity, kv saved, sink, recent, far, full cache, "
        "compressed, grpo, reward, rollout, penalty, seed, agreement, induction, retrieval, kl, "
        "first changed token, hard mask"
    )
    assert set(wanted.split(", ")) <= set(TERMS)


@pytest.mark.parametrize("key", TERMS)
def test_each_is_said_in_a_few_plain_sentences(key: str) -> None:
    _, meaning = TERMS[key]
    assert meaning.endswith(".")
    assert len(re.findall(r"[.:?!](?:\s|$)", meaning)) <= 4
    assert len(meaning) <= 240


def test_a_word_opens_its_own_definition() -> None:
    first, second = term("gate", "gates"), term("gate")
    target = re.search(r'popovertarget="([^"]+)"', first)
    assert target is not None
    assert f'id="{target[1]}"' in first
    assert target[1] not in second
    assert ">gates</button>" in first
    assert ">Gate</button>" in second


def test_words_are_text() -> None:
    assert "<img" not in term("gate", "<img src=x>")


def test_a_line_does_not_begin_with_the_bracket_after_a_word() -> None:
    held = term("kl", "KL", before="(", after=").")
    assert held.startswith('<span class="with-term">(<button')
    assert held.endswith("</span>).</span>")


def test_no_page_leaves_a_stop_outside_of_the_word_before_it() -> None:
    parted = re.compile(r"\{term\((?:[^{}]|\{[^{}]*\})*\)\}[,.:;!?)]")
    pages = sorted(Path(ui.__file__).parent.rglob("*.py"))
    found = {page.name: parted.findall(page.read_text("utf-8")) for page in pages}
    assert {name: words for name, words in found.items() if words} == {}
    assert parted.search("{term('recent', f'latest {recent}')}.")


def test_a_typing_mistake_is_found() -> None:
    with pytest.raises(KeyError):
        term("gaet")


def test_the_list_is_whole_and_by_name() -> None:
    class Names(HTMLParser):
        found: list[str]
        inside = False

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.inside = tag == "dt"

        def handle_data(self, data: str) -> None:
            if self.inside:
                self.found.append(data)
                self.inside = False

    names = Names()
    names.found = []
    names.feed(glossary_list())
    assert names.found == sorted(name for name, _ in TERMS.values())


def test_ranks_are_those_of_the_scores() -> None:
    """Elimination can rank a head otherwise than its gate would."""
    mask = HeadMask.from_pretrained("tracer")
    gates, scores = mask.gates.ravel(), mask.scores.ravel()
    assert (gates.argsort() != scores.argsort()).any()
    for key in ("rank", "threshold", "mask"):
        assert "score" in TERMS[key][1]
        assert "gate" not in TERMS[key][1]
