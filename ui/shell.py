"""Builds the app out of its pages and says how to launch it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import gradio as gr
from gradio.components import Navbar
from gradio.routes import App
from starlette.middleware import Middleware

from ui import api, overview, sessions, uploads, visitor, waiting
from ui.components.link_banner import link_banner
from ui.components.tour import STOPS, tour
from ui.events import QUIET
from ui.file_values import guard_file_values
from ui.pages import PAGES
from ui.retention import forget_daily
from ui.studio import Studio
from ui.theme import Studio as Theme

STATIC = Path(__file__).resolve().parent / "static"
SCRIPTS = [
    "page.js",
    "dom.js",
    "export.js",
    "race.js",
    "charts.js",
    "tokens.js",
    "glossary.js",
    "tour.js",
    "headmap.js",
    "headmap_input.js",
    "headmap_time.js",
    "headtable.js",
    "evalcurves.js",
    "stories.js",
    "chat_text.js",
    "chat_memory.js",
    "chat_turn.js",
    "chat_replay.js",
    "chat_list.js",
    "chat.js",
    "library.js",
]
"""Run before the app on every page, in this order."""
STYLES = [
    "style.css",
    "widgets.css",
    "headmap.css",
    "head.css",
    "models.css",
    "chat.css",
    "evaluation.css",
    "library.css",
    "sharing.css",
]


def build_app(studio: Studio) -> gr.Blocks:
    """All pages, each under its own address; forgets once a day what is too old."""
    guard_file_values()
    settings = studio.settings
    forget_daily(studio.db.folder, settings.quotas.keep_days, visitors=settings.shared)
    with no_server_yet():
        return _pages(studio)


@contextmanager
def no_server_yet() -> Iterator[None]:
    """At the end of every page Gradio makes a whole server of the pages so far, and `launch` makes
    the only one that is used: left out, the first screen is there a second or two sooner."""
    make = App.create_app

    def none(*_: Any, **__: Any) -> None:
        return None

    App.create_app = staticmethod(none)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        App.create_app = staticmethod(make)  # type: ignore[method-assign]


def _pages(studio: Studio) -> gr.Blocks:
    with gr.Blocks(
        title="RLKV Studio", analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True
    ) as app:
        Navbar(visible=False)
        overview.build()
        tour("Overview")
        api.build(studio)
        app.load(studio.engine.load_soon, None, None, **QUIET)
        app.unload(lambda: sessions.forget_closed(app))
    for page in PAGES:
        with app.route(page.name, page.path):
            Navbar(visible=False)
            import_module(page.module).build(studio, app)
            if page.offers_links:
                link_banner(studio, app)
            if page.name in STOPS:
                tour(page.name)
    # Closed to what would run a model past the line (on a Space Gradio closes it by itself).
    app.queue(max_size=waiting.MOST_EVENTS, api_open=False)
    if studio.settings.shared:
        waiting.bound(app)
    return cast(gr.Blocks, app)


def launch_options(data_dir: Path) -> dict[str, Any]:
    """What to pass to `launch`: the look, and nothing open that need not be."""
    scripts = "".join(f"<script>{(STATIC / name).read_text()}</script>" for name in SCRIPTS)
    return {
        "theme": Theme(),
        "css_paths": [STATIC / name for name in STYLES],
        "head": scripts + '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "footer_links": ["settings"],
        "allowed_paths": [],
        "blocked_paths": [str(path) for path in private_paths(data_dir)],
        "max_file_size": "5mb",
        "run_history": False,
        "enable_monitoring": False,
        "state_session_capacity": sessions.MOST,
        "show_error": False,
        "strict_cors": True,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": api.mcp_server(),
        "app_kwargs": {"middleware": for_visitors()} if visitor.is_shared() else {},
        "quiet": True,
    }


def for_visitors() -> list[Middleware]:
    """What every request to a shared copy goes through."""
    return [*visitor.middleware(), uploads.middleware()]


def private_paths(data_dir: Path) -> list[Path]:
    """What is never served. The rest of the folder holds the files that are handed out."""
    return [data_dir / "jobs", *data_dir.glob("*.db*"), *data_dir.glob("*.sqlite*")]
