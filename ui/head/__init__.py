"""The page of one head: what it is, where it looks, what compressing it does, which are like it.

Its address says all: `./head?model=..&mask=..&head=12.3`.
"""

from ui.head.page import build

__all__ = ["build"]
