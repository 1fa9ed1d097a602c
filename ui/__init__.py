"""The web pages: Gradio, one file per page. Knows rlkv and storage; no torch, no SQL."""

from ui.shell import build_app, launch_options
from ui.studio import Settings, Studio

__all__ = ["Settings", "Studio", "build_app", "launch_options"]
