"""The page of docs/extending.md, in an app that was extended as written there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from rlkv.masks import HeadMask
from tests.browser.conftest import Server, Watch, watched
from tests.recipes import ROOT, follow

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Extended(Server):
    """The app of another folder than this repository."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source = source
        super().__init__(folder)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=self.source, env=self.environment)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    source = tmp_path_factory.mktemp("copy")
    follow(source)
    server = Extended(source, tmp_path_factory.mktemp("data"))
    try:
        server.start()
        yield server.url
    finally:
        server.close()


def test_the_page_is_in_the_bar_and_answers(browser: Browser, extended: str, watch: Watch) -> None:
    shipped = HeadMask.load(ROOT / "examples" / "masks" / "tracer")
    counts = [f"Layer {i}: {n} kept" for i, n in enumerate(shipped.kept.sum(1))]
    with watched(browser, extended, watch) as context:
        page = context.new_page()
        page.goto("/stories")
        page.get_by_label("Pages").get_by_role("link", name="Layers").click()
        lines = page.locator("#layers-kept li")
        expect(lines).to_have_text(counts)
        page.locator("#layers-mask input").click()
        page.get_by_role("option").filter(has_text="SmolLM2").first.click()
        expect(lines).to_have_count(30)
