"""Closes tabs in the middle of answers, looks at what the app holds; for `test_closed_tab.py`.

The app and the tabs are in one process, which is why it is not the one of the tests: Gradio leaves
event loops behind. Ends with one JSON object about what was found.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlkv.cache import SplitHeadCache
from tests.browser.conftest import free_port
from tests.load.test_memory import left_in_the_middle
from ui import Settings, Studio, build_app, launch_options, sessions
from ui.chat import page

TABS, CLOSED_KEPT = 4, 1


def main(folder: Path) -> dict[str, Any]:
    sessions.forget_closed.__defaults__ = (CLOSED_KEPT,)
    studio = Studio.open(Settings(data_dir=folder))
    app = build_app(studio)
    app.launch(server_port=free_port(), prevent_thread_lock=True, **launch_options(folder))
    studio.engine.loaded()
    before, seconds = caches(), []
    for _ in range(TABS):
        asyncio.run(left_in_the_middle(str(app.local_url)))
        seconds.append(until(lambda: studio.engine.status.leases == 0))
    until(lambda: page._keeper().nbytes == 0 and caches() <= before)
    known = app.state_holder.session_data
    until(lambda: len(known) <= CLOSED_KEPT)
    return {
        "seconds": seconds,
        "kept_bytes": page._keeper().nbytes,
        "caches": caches() - before,
        "sessions": len(known),
    }


def caches() -> int:
    gc.collect()
    return sum(isinstance(one, SplitHeadCache) for one in gc.get_objects())


def until(condition: Callable[[], bool], most: float = 8.0) -> float:
    """Seconds until something is true, or `most`."""
    begun = time.monotonic()
    while not condition() and time.monotonic() - begun < most:
        time.sleep(0.02)
    return time.monotonic() - begun


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))), flush=True)
