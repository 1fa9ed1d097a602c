"""`python -m rlkv chat` with several turns."""

import io
import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlkv.cli import main
from rlkv.dialogue import Frame, converse
from rlkv.generation import Sampling
from rlkv.masks import HeadMask
from tests.rlkv.dialogue.stage import PROMPT, SECOND, Loaded, answer, asked

MASK = Path(__file__).parents[3] / "examples" / "masks" / "tracer"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["chat", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_turns_from_stdin_go_on_from_each_sides_answer(
    tracer: Loaded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PROMPT}\n\n{SECOND}\n"))
    result = said(capsys, "-", "--mask", str(MASK), "--sparsity", "0.75", "--max-new-tokens", "40")
    mask = HeadMask.load(MASK).at_sparsity(0.75)
    first, second = result["turns"]
    for name, side in (("full", None), ("compressed", mask)):
        frame = answer(tracer, [side], asked(PROMPT), Sampling(40))
        assert first[name]["text"] == frame.sides[0].text
        frame = answer(tracer, [side], asked(PROMPT, frame.sides[0].text, SECOND), Sampling(40))
        assert second[name]["text"] == frame.sides[0].text
        assert second[name]["kv_bytes"] == frame.sides[0].kv_bytes
    assert result["full"] == second["full"]
    assert 0 < result["kv_saved"] < 1


def test_frames_that_nobody_reads_are_not_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds all text so far: together they grow with the square of the answer."""
    seen: list[weakref.ref[Frame]] = []
    alive: list[int] = []

    def watched(*arguments: Any, **options: Any) -> Iterator[Frame]:
        for frame in converse(*arguments, **options):
            alive.append(sum(one() is not None for one in seen))
            seen.append(weakref.ref(frame))
            yield frame

    monkeypatch.setattr("rlkv.dialogue.converse", watched)
    assert said(capsys, PROMPT)["full"]["text"]
    assert len(seen) > 10
    assert max(alive) <= 3


def test_a_system_message_without_a_place_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", PROMPT, "--system", "Be brief."]) == 2
    assert "Remove the system message" in capsys.readouterr().err


def test_no_question_at_all_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main(["chat", "-"]) == 2
    assert "Write a question first" in capsys.readouterr().err
