"""What the app hands to Gradio when it starts: nothing is open that need not be.

Each line stands for a fault of Gradio's past, or a page of it that shows too much. Left out are
`set_static_paths`, since our scripts travel in the page itself, and the API's link in the footer.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from storage.database import FILE_NAME, open_database
from ui import __main__ as program
from ui import shell, space
from ui.studio import Settings, Studio

LAUNCHED = {
    "server_name": "127.0.0.1",
    "allowed_paths": [],
    "max_file_size": "5mb",
    "run_history": False,
    "enable_monitoring": False,
    "show_error": False,
    "strict_cors": True,
    "footer_links": ["settings"],
    "ssr_mode": False,
    "pwa": False,
    "mcp_server": False,
    "auth": None,
}
BUILT = {"analytics_enabled": False, "delete_cache": (3600, 3600)}
NEVER = ("share", "debug", "root_path", "auth_dependency", "favicon_path")
"""Left to Gradio, whose defaults are off."""


class Stands:
    """In place of the app: keeps what it is launched with."""

    def launch(self, **options: Any) -> None:
        self.options = options

    def block_thread(self) -> None:
        """Ends at once."""


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, app = tmp_path_factory.mktemp("data"), Stands()
    open_database(folder).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLKV_DATA_DIR", str(folder))
        patch.delenv("RLKV_MCP", raising=False)
        patch.setattr(shell, "build_app", lambda studio: studio.db.close() or app)
        program._serve(space.host(), 7860, folder, None)
    return {**app.options, "folder": folder}


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_app_is_launched_with(name: str, launched: dict[str, Any]) -> None:
    assert launched[name] == LAUNCHED[name]


@pytest.mark.parametrize("name", NEVER)
def test_the_app_is_never_launched_with(name: str, launched: dict[str, Any]) -> None:
    assert name not in launched


def test_what_is_private_is_blocked(launched: dict[str, Any]) -> None:
    """Not the whole folder, which holds the files that are handed out."""
    folder = launched["folder"]
    assert {str(folder / "jobs"), str(folder / FILE_NAME)} <= set(launched["blocked_paths"])


def test_an_ipv6_address_is_tried_and_told_as_one() -> None:
    assert program.in_address("::1") == program.in_address("[::1]") == "[::1]"
    assert program.in_address("127.0.0.1") == "127.0.0.1"
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Can't listen on [::1]:{port}" in program.why_not("::1", port)
        assert "another port" in program.why_not("[::1]", port)
    assert program.why_not("::1", port) == ""
    assert program.why_not("[::1]", port) == ""


def test_an_address_of_another_machine_is_not_a_question_of_the_port() -> None:
    said = program.why_not("203.0.113.7", 7860)
    assert "an address of this machine" in said
    assert "port" not in said


class Seen(Exception):
    """The pages need not be built."""


@pytest.mark.parametrize("name", BUILT)
def test_the_pages_are_built_with(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def blocks(**options: Any) -> None:
        given.update(options)
        raise Seen

    monkeypatch.setattr(shell, "forget_daily", lambda *_, **__: None)
    monkeypatch.setattr(gr, "Blocks", blocks)
    studio = Studio.open(Settings(data_dir=tmp_path))
    with pytest.raises(Seen):
        shell.build_app(studio)
    studio.db.close()
    assert given[name] == BUILT[name]


def test_uploads_and_caches_lie_in_the_data_folder(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from ui.__main__ import prepare\n"
        "prepare(pathlib.Path(sys.argv[1]))\n"
        "print(os.environ['GRADIO_TEMP_DIR'], os.environ['GRADIO_ANALYTICS_ENABLED'])"
    )
    clean = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=clean, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert told.stdout.split() == [str(tmp_path / "tmp"), "False"]
    assert (tmp_path / "tmp").stat().st_mode & 0o077 == 0
