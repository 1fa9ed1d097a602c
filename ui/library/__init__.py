"""The library of masks: find, rename, compare, average, share, import and delete them."""

from ui.library.page import build

__all__ = ["build"]
