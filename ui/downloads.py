"""Files that are handed to the browser: where they are written, and the click that takes them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any


def new_folder(kind: str) -> Path:
    """An empty folder for one download, where Gradio may serve from and cleans up."""
    return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=os.environ.get("GRADIO_TEMP_DIR")))


def take(elem_id: str) -> dict[str, Any]:
    """Options of the event that presses the hidden download button once it has its file."""
    click = f"() => setTimeout(() => document.querySelector('#{elem_id}').click(), 60)"
    return {"js": click, "api_visibility": "private"}
