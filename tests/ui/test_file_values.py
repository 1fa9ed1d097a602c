"""What looks like one of Gradio's file objects is a file only where a component is made for files.
`tests/security/test_files.py` tries the real app."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio import processing_utils
from gradio_client import utils as client_utils

from tests.apart import run_apart
from ui.file_values import guard_file_values

Move = Callable[[Any, Any], Any]


def named(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Move:
    """What happens to a value before and after an event."""
    for name in ("async_move_files_to_cache", "async_ssrf_protected_download"):
        monkeypatch.setattr(processing_utils, name, getattr(processing_utils, name))
    is_file = client_utils.is_file_obj_with_meta
    monkeypatch.setattr(client_utils, "is_file_obj_with_meta", is_file)
    guard_file_values()

    def moved(value: Any, component: Any) -> Any:
        return run_apart(processing_utils.async_move_files_to_cache(value, component))

    return moved


@pytest.mark.parametrize("kind", [gr.JSON, gr.HTML, gr.Textbox])
def test_elsewhere_it_is_a_value_like_others(kind: type, move: Move) -> None:
    for path in (__file__, "https://example.org/x"):
        value = {"notes": [named(path), {"path": "x", "meta": "y"}]}
        found = move(value, kind())
        assert found == value
        assert found["notes"] is not value["notes"]  # what a handler goes on changing is its own


def test_a_file_is_still_handed_out(tmp_path: Path, move: Move) -> None:
    path = tmp_path / "mask.zip"
    path.write_text("what it holds")
    found = move(named(str(path)), gr.DownloadButton())
    assert found["url"].endswith("mask.zip")
    assert Path(found["path"]).read_text() == "what it holds"


@pytest.mark.parametrize("kind", [gr.File, gr.UploadButton])
def test_nothing_is_fetched_for_a_client(kind: type, move: Move) -> None:
    with pytest.raises(gr.Error, match="Addresses are not fetched"):
        move([named("https://example.org/a-terabyte.zip")], kind())


def test_what_only_half_looks_like_a_file_is_none(move: Move) -> None:
    for value in ({"path": "x", "meta": "y"}, {"path": 1, "meta": named("x")["meta"]}, "x", None):
        assert move([value], gr.File()) == [value]
        assert processing_utils.add_root_url([value], "http://here", None) == [value]
