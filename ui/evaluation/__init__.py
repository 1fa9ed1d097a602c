"""The page that measures what compression costs: curves, errors, and every single answer."""

from ui.evaluation.page import build

__all__ = ["build"]
