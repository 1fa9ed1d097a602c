"""The heads page: look at a mask in several views, cut it, edit it, save it, take it away."""

from ui.heads.page import build

__all__ = ["build"]
