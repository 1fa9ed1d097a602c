"""Pictures of every page for the docs: both themes, wide and narrow, of the real app.

    .venv/bin/python scripts/screenshots.py            # writes docs/images/pages/

Starts the app with an empty data folder of its own, so the pictures show what a newcomer sees.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "images" / "pages"
WIDTHS = {"wide": 1440, "phone": 375}
TALLEST = 3200
PAGES = {
    "overview": ("/", "#recording .side"),
    "train": ("/train", "#gates .hm-svg, #map .hm-svg, .live-top, .blank"),
    "heads": ("/heads", "#map .hm-svg"),
    "head": ("/head?mask=shipped&head=1.2", "#change-tokens [data-i]"),
    "finder": ("/finder", "#finder tbody tr"),
    "chat": ("/chat", "#question"),
    "masks": ("/masks", ".masks .thumb"),
    "evaluate": ("/evaluate", "#accuracy .curve"),
    "stories": ("/stories", "h1"),
}
"""Address, and what has to be there before the picture is taken."""


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        app, url = start(Path(folder))
        try:
            browser = playwright.chromium.launch(args=["--no-sandbox"], executable_path=chromium)
            take_all(browser, url)
        finally:
            app.terminate()
            app.wait()


def start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The app on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "RLKV_DATA_DIR": str(folder)}
    command = [sys.executable, "app.py", "--port", str(port)]
    app = subprocess.Popen(command, cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return app, url
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The app did not start.")


def take_all(browser: Browser, url: str) -> None:
    for theme in ("light", "dark"):
        for width_name, width in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.add_init_script("localStorage.setItem('rlkv-tour', 'done')")
            for name, (path, there) in PAGES.items():
                take(page, f"{url}{path}", there, theme, OUT / f"{name}-{width_name}-{theme}.webp")
            page.close()


def take(page: Page, address: str, there: str, theme: str, path: Path) -> None:
    """One picture, as small as it stays clear."""
    mark = "&" if "?" in address else "?"
    page.goto(f"{address}{mark}__theme={theme}")
    page.locator(there).first.wait_for(timeout=90_000)
    page.wait_for_timeout(2500)  # fonts, and what follows the first paint
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    width = page.evaluate("window.innerWidth")
    picture = page.screenshot(
        full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height}
    )
    Image.open(io.BytesIO(picture)).convert("RGB").save(path, quality=72, method=6)
    print(path.relative_to(ROOT), f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
