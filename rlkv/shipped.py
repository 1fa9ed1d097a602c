"""Where the examples are that come with us: the embedded model, its masks, recordings.

In the repository they lie in `examples/`; an installed package holds them as its data.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "examples"

EXAMPLES = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "examples"


def shipped_mask(name: str) -> Path | None:
    """The folder of the shipped mask called `name`, such as `tracer`; None if there is none."""
    for config in (EXAMPLES / "masks").glob("*/config.json"):
        if config.parent.name == name:
            return config.parent
    return None
