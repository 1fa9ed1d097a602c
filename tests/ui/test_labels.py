"""What a screen reader says of a field that shows no label."""

from __future__ import annotations

import importlib
from pathlib import Path

import gradio as gr
import pytest

from tests.ui.handlers import built
from ui.pages import PAGES, Page
from ui.studio import Settings, Studio

FIELDS = (gr.Textbox, gr.Dropdown, gr.Radio, gr.Number, gr.Slider, gr.Checkbox, gr.File)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_field_has_a_name_of_its_own(page: Page, tmp_path: Path) -> None:
    """Gradio calls one without a label by its kind: "Textbox"."""
    studio = Studio.open(Settings(data_dir=tmp_path))
    app = built(lambda app: importlib.import_module(page.module).build(studio, app))
    fields = [one for one in app.blocks.values() if isinstance(one, FIELDS)]
    assert [one.elem_id for one in fields if not one.label and one.visible is True] == []
    studio.db.close()
