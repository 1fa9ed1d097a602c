"""A conversation goes out and comes back as it was; a file that is none is refused in words."""

import copy
import json
from typing import Any

import pytest

from rlkv.dialogue import Frame
from rlkv.dialogue.export import from_json, make_record, to_json, to_markdown
from rlkv.dialogue.record import branch
from rlkv.errors import UserError
from rlkv.generation import Sampling
from tests.rlkv.dialogue.stage import MOST, PROMPT, SECOND, Loaded, answer, asked


def side(frame: Frame, i: int) -> dict[str, Any]:
    """A side as a page keeps it."""
    state, mask = frame.sides[i], MOST if i else None
    cols = {
        "t": [token.text for token in state.tokens],
        "p": [token.probability for token in state.tokens],
        "k": [token.kl for token in state.tokens],
        "b": [state.kv_bytes] * state.n_tokens,
    }
    now = {"tokens": state.n_tokens, "bytes": state.kv_bytes, "speed": state.tokens_per_second,
           "first": state.first_token_seconds, "stop": state.stop_reason}  # fmt: skip
    found: dict[str, Any] = {
        "slot": i, "name": ("Full", "Compressed")[i], "text": state.text, "cols": cols, "now": now,
        "mask": None if mask is None else {"name": "most", "sparsity": mask.sparsity},
    }  # fmt: skip
    difference = frame.differences[i]
    if difference is not None:
        assert difference.probabilities is not None
        found["prefix"] = frame.common_prefix(i)
        found["diff"] = {
            "at": difference.at,
            "tokens": [one and one[1] for one in difference.tokens],
            "p": [list(row) for row in difference.probabilities],
        }
    return found


@pytest.fixture(scope="module")
def record(tracer: Loaded) -> dict[str, Any]:
    """Two answers to one question, the second one open, with a further turn."""
    said = []
    for question in (PROMPT, SECOND):
        frame = answer(tracer, [None, MOST], asked(question), Sampling(60))
        said.append({"sides": [side(frame, 0), side(frame, 1)], "order": None, "vote": None})
    messages = [
        {"id": 3, "role": "user", "text": PROMPT},
        {"id": 4, "parent": 3, "role": "assistant", "answer": said[0]},
        {"id": 7, "parent": 3, "role": "assistant", "answer": said[0]},
        {"id": 8, "parent": 7, "role": "user", "text": SECOND},
        {"id": 9, "parent": 8, "role": "assistant", "answer": said[1]},
    ]
    return make_record(title="Two *turns*", model="tracer", messages=messages, leaf=9)


def test_it_comes_back_as_it_was(record: dict[str, Any]) -> None:
    assert from_json(to_json(record)) == record
    assert from_json(to_json(record).encode()) == record
    assert [one["id"] for one in branch(record)] == [3, 7, 8, 9]
    first = record["messages"][1]["answer"]["sides"][1]
    assert first["diff"]["at"] == first["prefix"]


def test_markdown_has_the_open_branch_and_its_figures(record: dict[str, Any]) -> None:
    text = to_markdown(record)
    assert text.startswith("# Two \\*turns\\*\n")
    assert text.count("## Question") == 2
    assert text.count("### Compressed") == 2
    full = record["messages"][2]["answer"]["sides"][0]
    assert full["text"] in text
    assert f"| Full | none | {full['now']['tokens']} | {full['now']['bytes']:,} |" in text
    assert "The first token differs from that of the first side." in text
    milder = copy.deepcopy(record)
    milder["messages"][2]["answer"]["sides"][1]["prefix"] = 12
    assert "The first 12 tokens are the same as on the first side." in to_markdown(milder)


def test_text_of_a_model_stays_text(record: dict[str, Any]) -> None:
    hostile = copy.deepcopy(record)
    hostile["title"] = "<img src=x>\n# more"
    hostile["messages"][0]["text"] = "```\n<script>1</script>\n````"
    text = to_markdown(hostile)
    assert text.startswith("# \\<img src=x\\> \\# more\n")
    assert "`````text\n```\n<script>1</script>\n````\n`````" in text


def test_an_undecided_blind_comparison_stays_blind(record: dict[str, Any]) -> None:
    blind = copy.deepcopy(record)
    last = blind["messages"][-1]["answer"]
    last["order"] = [1, 0]
    text = to_markdown(blind).split("## Answers")[-1]
    a, b = text.index("### A"), text.index("### B")
    assert text.index(last["sides"][1]["text"]) in range(a, b)
    assert "Full" not in text
    assert "KV" not in text
    last["vote"] = "a"
    assert "### Full" in to_markdown(blind).split("## Answers")[-1]


def test_what_is_not_known_is_dropped(record: dict[str, Any]) -> None:
    more = copy.deepcopy(record)
    more["extra"] = more["messages"][1]["answer"]["sides"][0]["html"] = "<b>"
    assert from_json(json.dumps(more)) == record


BREAKS: list[tuple[str, Any, str]] = [
    ("messages.1.answer.sides.0.cols.p", [0.5], "column p has another length"),
    ("messages.1.answer.sides.0.cols.b.0", -1, "greater than or equal"),
    ("messages.1.answer.sides.0.now.stop", "bored", "'end', 'length'"),
    ("messages.1.answer.sides.0.now.tokens", "7", "valid integer"),
    ("messages.1.answer.sides", [], "at least 1 item"),
    ("messages.1.answer.order", [0, 0], "blind comparison"),
    ("messages.1.answer", None, "message 4 has to have an answer"),
    ("messages.2.id", 4, "message 4 is there twice"),
    ("messages.1.parent", 9, "does not stand before it"),
    ("messages.3.parent", 3, "breaks the turns"),
    ("leaf", 99, "open branch"),
    ("title", "x" * 1001, "at most 1000 characters"),
    ("rlkv_chat", 2, "update the app"),
    ("rlkv_chat", "1", "rlkv_chat"),
    ("rlkv_chat", None, "no conversation of this app"),
]


@pytest.mark.parametrize(("where", "value", "says"), BREAKS)
def test_what_is_wrong_is_said(record: dict[str, Any], where: str, value: Any, says: str) -> None:
    broken = copy.deepcopy(record)
    at: Any = broken
    *path, last = [int(step) if step.isdigit() else step for step in where.split(".")]
    for step in path:
        at = at[step]
    at[last] = value
    with pytest.raises(UserError, match=says) as caught:
        from_json(json.dumps(broken))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", ["{", "[" * 100_000, "[]", "7", b"\xff\xfe\x00", '{"rlkv_chat": 1}']
)
def test_what_is_no_conversation_is_refused(data: str | bytes) -> None:
    with pytest.raises(UserError):
        from_json(data)


def test_numbers_that_are_none_are_refused(record: dict[str, Any]) -> None:
    text = to_json(record).replace('"speed":', '"speed":NaN,"spare":', 1)
    with pytest.raises(UserError, match="speed"):
        from_json(text)
