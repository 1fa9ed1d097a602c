"""How events are wired that bring their data with them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.ui.handlers import built
from ui.studio import Settings, Studio


@pytest.mark.parametrize("module", ["ui.heads.page", "ui.head.page"])
def test_no_pick_on_a_map_is_repeated_with_the_data_of_the_one_before(
    module: str, tmp_path: Path
) -> None:
    """Gradio sends a change that had to wait with the first one's data, or not at all."""
    studio = Studio.open(Settings(data_dir=tmp_path))
    app = built(lambda app: importlib.import_module(module).build(studio, app))
    picks = [one for one in app.fns.values() if getattr(one.fn, "__name__", "") in ("pick", "base")]
    assert picks
    assert {one.trigger_mode for one in picks} == {"multiple"}
    studio.db.close()
