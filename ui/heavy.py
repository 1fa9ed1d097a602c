"""Modules that bring torch in, imported when asked for and one at a time.

The first page is served before torch is there. Several threads want it at once then (the model,
the memory line, a model's facts), and transformers' lazy modules are not made for that: an import
that meets another half way fails with a name that can't be found.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

_one_at_a_time = threading.RLock()


def heavy(name: str) -> Any:
    """The module called `name`."""
    with _one_at_a_time:
        return importlib.import_module(name)
