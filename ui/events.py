"""How events are wired: nothing of them is a public endpoint, and none dims what it repaints."""

from __future__ import annotations

from typing import Any

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""For short work that can't fail: answers at once, past the queue. Gradio shows the person
nothing of an error raised here."""
FOLLOWS: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
"""For what follows fields: with several triggers Gradio would drop a change that comes while the
last one is being answered."""
EVERY: dict[str, Any] = {**QUIET, "trigger_mode": "multiple"}
"""For what brings its data with it: Gradio repeats a change that waited with the first one's data,
or drops it."""
PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""For what may be refused with a message, or take a moment."""
MODEL_RUNS: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, **PRIVATE}
"""For what runs a model: one at a time, in line with the chats, since they share the machine."""
