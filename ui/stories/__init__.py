"""Three short stories about one small model, told on what was measured of it."""

from ui.stories.page import build

__all__ = ["build"]
