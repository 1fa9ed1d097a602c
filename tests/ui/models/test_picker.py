"""What the picker shows and refuses, without a browser."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from rlkv import headroom
from rlkv.errors import UserError
from rlkv.known_models import known
from rlkv.model_facts import read_facts
from tests.ui.models.conftest import until
from ui.engine import MODEL, Status
from ui.models import picker
from ui.models.facts import facts_of, forget
from ui.models.view import count_text, facts_line, state_line
from ui.studio import Settings, Studio

SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.open(Settings(data_dir=tmp_path / "data"))


def test_known_models_are_described_before_anything_is_read() -> None:
    line = facts_line(known(SMOL), None, Status())
    assert "135 million" in line
    assert "30 x 3 = 90" in line
    assert "8,192 tokens" in line


def test_the_line_says_whether_it_fits_and_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = read_facts("random:llama-135m")
    monkeypatch.setattr(headroom, "total_bytes", lambda device: 10**10)
    monkeypatch.setattr(headroom, "free_bytes", lambda device: 5 * 10**9)
    line = facts_line(None, facts, Status())
    assert ">538 MB in float32<" in line
    # 30 layers x 3 heads x 64 numbers x 4 bytes, keys and values: 189 MB for 4,096 tokens.
    assert "673 MB to load, 727 MB with 4,096 tokens of full cache: fits<" in line
    assert "warn" not in line
    monkeypatch.setattr(headroom, "free_bytes", lambda device: 10**9)
    line = facts_line(None, facts, Status())
    assert "full cache: does not fit<" in line
    assert "673 MB of memory" in line
    assert "500 MB is free" in line
    assert ">727 MB with 4,096 tokens of full cache; loaded<" in facts_line(
        None, facts, Status("ready")
    )
    form = facts_line(None, facts, Status(), room=False)
    assert "538 MB in float32<" in form
    assert "warn" not in form


def test_the_state_is_a_line_with_a_bar_while_something_is_under_way() -> None:
    assert "Loaded, used by 2 now" in state_line(Status("ready", leases=2))
    part = state_line(Status("loading", "Downloading: 30 MB of 60 MB", 0.5, 12.0))
    assert 'aria-valuenow="50"' in part
    assert "12 s" in part
    assert "unknown" in state_line(Status("loading", "Reading the weights", None, 3.0))
    assert "<b>" not in state_line(Status("failed", "There is no model '<b>'"))


@pytest.mark.parametrize(
    ("count", "text"),
    [(1_004_032, "1.0 million"), (134_515_008, "135 million"), (8_030_261_248, "8.0 billion")],
)
def test_counts_read_as_people_say_them(count: int, text: str) -> None:
    assert count_text(count) == text


def test_facts_come_from_the_background_and_errors_are_read_anew(
    folder: str, tmp_path: Path
) -> None:
    missing = str(tmp_path / "later")
    with pytest.raises(UserError, match="no model"):
        facts_of(missing, 60)
    Path(folder).rename(missing)
    forget(missing)
    facts = facts_of(missing, 60)
    assert facts is not None
    assert facts.place == "folder"


def test_it_follows_the_server_and_says_nothing_twice(studio: Studio, folder: str) -> None:
    facts_of(folder, 60)
    first = picker._painted(studio, folder, None)
    assert first[6] is None
    assert picker._painted(studio, folder, first[0])[1:] == [gr.skip()] * 7
    studio.engines.load(folder)
    until(lambda: studio.engines.status(folder).state == "ready")
    ready = picker._painted(studio, folder, first[0])
    assert ready[6] == folder
    assert "Loaded" in ready[2]


def test_a_public_copy_offers_and_reads_its_own_model_only(tmp_path: Path, folder: str) -> None:
    public = Studio.open(Settings(shared=True, data_dir=tmp_path / "public"))
    assert [ref for _, ref in picker.choices(public)] == [MODEL]
    painted = picker._painted(public, folder, None)
    assert "embedded model only" in painted[1]
    for act in (public.engines.load, public.engines.cancel, public.engines.unload):
        with pytest.raises(gr.Error, match="embedded model only"):
            picker._acted(public, act, folder)
    assert public.engines.status(folder).state == "absent"


def test_visitors_do_not_take_a_model_from_each_other(tmp_path: Path, folder: str) -> None:
    settings = Settings(shared=True, models=(folder,), data_dir=tmp_path / "public")
    public = Studio.open(settings)
    facts_of(folder, 60)
    picker._acted(public, public.engines.load, folder)
    for act in (public.engines.cancel, public.engines.unload):
        with pytest.raises(gr.Error, match="make room by themselves"):
            picker._acted(public, act, folder)
    loading = picker._painted(public, folder, None)
    until(lambda: public.engines.status(folder).state == "ready")
    for painted in (loading, picker._painted(public, folder, None)):
        assert [button["visible"] for button in painted[4:6]] == [False, False]
