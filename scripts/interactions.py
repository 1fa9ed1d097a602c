"""How long the app's main interactions take, measured inside the browser.

    .venv/bin/python scripts/interactions.py
    .venv/bin/python scripts/interactions.py --model SmolLM2-135M-Instruct.Q4_1.gguf

Prints a Markdown table: median and worst of several tries, from the click or key to the first
frame that shows the result. With `--model`, also the attention of that model's heads on 512 tokens
(a mask of 30 layers x 3 KV heads is shipped for SmolLM2-135M-Instruct).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright
from screenshots import start

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks

TRIES = 7
LIMIT_MS = 60_000
SMOL = "shipped:smollm2-135m-repeat"
SHOWN = "[...document.querySelectorAll('#look-tokens [data-i]')].map(t => t.textContent).join()"
"""The tokens on screen."""
WATCH = """
([there, limit]) => new Promise(done => {
  const test = new Function('return (' + there + ')');
  const look = () => {
    const passed = performance.now() - window.rlkvClicked;
    if (window.rlkvClicked && test()) return done(passed);
    if (passed > limit) return done(-1);
    requestAnimationFrame(look);
  };
  look();
})
"""
MARK = """
for (const kind of ['pointerdown', 'keydown'])
  addEventListener(kind, () => { window.rlkvClicked = performance.now(); }, true);
"""


@dataclass(frozen=True)
class Timed:
    """One interaction and its times in milliseconds."""

    what: str
    times: list[float]

    def row(self) -> str:
        middle, worst = statistics.median(self.times), max(self.times)
        return f"| {self.what} | {middle:.0f} ms | {worst:.0f} ms |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="Hub id, folder or .gguf file of SmolLM2-135M-Instruct")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        large = _large_mask(Path(folder))
        app, url = start(Path(folder))
        try:
            browser = playwright.chromium.launch(args=["--no-sandbox"], executable_path=chromium)
            page = browser.new_page(viewport={"width": 1440, "height": 1400}, base_url=url)
            page.add_init_script(MARK)
            found = [*heads(page, "shipped", "4x8"), *heads(page, large, "80x8"), *one_head(page)]
            found += finder(page)
            if options.model:
                found += smol(page, options.model)
        finally:
            app.terminate()
            app.wait()
    print("| interaction | median | worst |\n|---|---|---|")
    print("\n".join(one.row() for one in found))


def timed(page: Page, what: str, act: Callable[[int], str], tries: int = TRIES) -> Timed:
    """`act(n)` does the n-th try and returns the JavaScript condition that ends it."""
    times = []
    for n in range(tries):
        page.evaluate("window.rlkvClicked = 0")
        there = act(n)
        passed = page.evaluate(WATCH, [there, LIMIT_MS])
        if passed < 0:
            raise SystemExit(f"{what}: nothing happened within {LIMIT_MS / 1000:.0f} s")
        times.append(passed)
        page.wait_for_timeout(400)
    return Timed(what, times)


def heads(page: Page, key: str, shape: str) -> list[Timed]:
    """The Heads page: open a head, move the cut, switch the view."""
    page.goto(f"/heads?mask={quote(key)}")
    page.locator("#map [data-head='0.0']").wait_for()
    page.wait_for_timeout(1500)

    def click(n: int) -> str:
        page.locator(f"#map [data-head='{n % 4}.{(n + 3) % 8}']").click()
        return f"document.querySelector('#panel [data-head=\"{n % 4}.{(n + 3) % 8}\"]')"

    def cut(n: int) -> str:
        before = page.locator("#figures [data-figure=kv-saved]").inner_text()
        page.focus("#sparsity input[type=range]")
        page.keyboard.press("PageUp" if n % 2 else "PageDown")
        value = "document.querySelector('#figures [data-figure=kv-saved]').innerText"
        return f"{value} !== {before!r}"

    def view(n: int) -> str:
        name = ("Rank", "Difference", "Agreement", "Gate")[n % 4]
        page.locator("#view").get_by_text(name, exact=True).click()
        return f"document.querySelector('#map .hm-svg').dataset.view === {name.lower()!r}"

    return [
        timed(page, f"Heads, {shape}: click on a cell to its panel", click),
        timed(page, f"Heads, {shape}: key on the cut to new figures", cut),
        timed(page, f"Heads, {shape}: another view to the map drawn", view, 8),
    ]


def one_head(page: Page) -> list[Timed]:
    """A head's page with the embedded model loaded."""
    page.goto("/head?mask=shipped&head=1.2")
    page.locator("#change-tokens [data-i]").first.wait_for(timeout=LIMIT_MS)
    page.wait_for_timeout(1500)

    def to(n: int, there: str) -> str:
        name = f"{n % 4}.{(2 * n + 1) % 8}"
        page.locator(f"#head-map [data-head='{name}']").click()
        return there.replace("NAME", name)

    title = "document.querySelector('#head-title [data-head=\"NAME\"]')"
    attention = "document.querySelector('#look-tokens').innerText.includes('head NAME')"
    return [
        timed(page, "One head: click on another cell to its figures", lambda n: to(n, title)),
        timed(page, "One head: the same to its attention measured", lambda n: to(n, attention)),
    ]


def finder(page: Page) -> list[Timed]:
    """Sorting the finder."""
    page.goto("/finder")
    page.locator("#finder tbody tr").first.wait_for()

    def sort(n: int) -> str:
        page.locator("#finder thead th button").nth(2 + n % 6).click()
        return f"document.querySelectorAll('#finder thead th')[{2 + n % 6}].ariaSort !== 'none'"

    return [timed(page, "Finder: press a heading to the table sorted", sort)]


def smol(page: Page, model: str) -> list[Timed]:
    """Attention of one head on 512 tokens."""
    page.goto(f"/head?mask={SMOL}&head=29.1&model={quote(model)}")
    page.locator("#look-tokens [data-i]").first.wait_for(timeout=180_000)
    page.get_by_text("A text as it is").click()
    words = " ".join(f"The number {n} comes after {n - 1}, and so on." for n in range(1, 200))

    def look(n: int) -> str:
        text = words[: 1480 + n]  # about 512 tokens
        page.locator("#look-text textarea").fill(text)
        page.evaluate(f"window.rlkvBefore = {SHOWN}")
        page.locator("#look").click()
        return f"{SHOWN} !== window.rlkvBefore"

    result = timed(page, "One head of SmolLM2-135M, last layer: attention of a text", look, 5)
    count = page.locator("#look-tokens [data-i]").count()
    return [Timed(f"{result.what} of {count} tokens", result.times)]


def _large_mask(folder: Path) -> str:
    """Key of a random mask of 80 layers x 8 KV heads."""
    db = open_database(folder)
    mask = HeadMask.random(80, 8, sparsity=0.5, seed=0, sink=16, recent=64, name="80x8")
    key: str = Masks(db).save(mask.to_record()).id
    db.close()
    return key


if __name__ == "__main__":
    main()
