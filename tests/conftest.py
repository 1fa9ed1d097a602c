"""What every test gets: no network, a data folder of its own, one thread."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Tests run side by side; threads of several processes on few cores only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SWITCHED_OFF = [
    # The address bar's pop-ups, which Chromium draws for every page: half a second of a core each.
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup",
    # What Playwright switches off for pages, since the last list given is the one that counts.
    "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter",
    "PaintHolding", "ThirdPartyStoragePartitioning", "OptimizationHints",
    "NetworkTimeServiceQuerying", "DestroyProfileOnBrowserClose",
    "AvoidUnnecessaryBeforeUnloadCheckSync", "AvoidCorsURLLoaderRestartOnRedirect",
    "TcpPortRandomizationWin", "AimEnabled",
    "PreconnectToSearch",
]  # fmt: skip
"""Features of Chromium that no test looks at."""


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKV_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all folders: Playwright can't be started twice in a process."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs Chromium for the browser tests")
        pytest.skip("no Chromium on this machine: install it to run the browser tests")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            args=["--no-sandbox", f"--disable-features={','.join(SWITCHED_OFF)}"],
            executable_path=CHROMIUM,
        )
        yield browser
        browser.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = config.getoption("--slow")
    skip = pytest.mark.skip(reason="slow: run with --slow")
    longest: dict[Path, float] = {}
    for item in items:
        if "slow" in item.keywords and not slow:
            item.add_marker(skip)
            continue
        mark = item.get_closest_marker("timeout")
        patience = float(mark.args[0]) if mark and mark.args else 0.0
        longest[item.path] = max(longest.get(item.path, 0.0), patience)
    # Files with the most patience first: begun last, they would run alone beside an idle core.
    items.sort(key=lambda item: -longest.get(item.path, 0.0))
