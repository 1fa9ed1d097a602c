"""What `doctor` looks at, one file per kind of thing. Each check takes what it looks at as an
argument, and says what it found and what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One finding. Where `ok` is false something has to be done before the app can work; an
    `advice` with `ok` true names what is worth knowing."""

    name: str
    ok: bool
    detail: str
    advice: str = ""
