"""The web pages: Gradio, one file per page. Knows rlkv and storage; no torch, no SQL.

Names are imported on first use: Gradio reads its environment when it is imported, and
`ui.__main__` sets that before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ui.shell import build_app, launch_options
    from ui.studio import Settings, Studio

__all__ = ["Settings", "Studio", "build_app", "launch_options"]

_HOMES = {
    "Settings": "ui.studio",
    "Studio": "ui.studio",
    "build_app": "ui.shell",
    "launch_options": "ui.shell",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ui' has no attribute '{name}'")
