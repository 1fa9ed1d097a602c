"""How tests read and work the head map on a page: real clicks, drags and keys."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

LAYERS, HEADS = 4, 8


def cell(page: Page, layer: int, head: int) -> Locator:
    return page.locator(f'#map [data-head="{layer}.{head}"]')


def figure(page: Page, name: str) -> Locator:
    return page.locator(f"#figures [data-figure={name}]")


def grid(page: Page) -> Locator:
    return page.get_by_role("grid")


def panel(page: Page, layer: int, head: int) -> Locator:
    return page.locator(f"#panel [data-head='{layer}.{head}']")


def centre(page: Page, layer: int, head: int) -> tuple[float, float]:
    box = cell(page, layer, head).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def click_cell(page: Page, layer: int, head: int) -> None:
    cell(page, layer, head).scroll_into_view_if_needed()
    page.mouse.click(*centre(page, layer, head))


def drag(page: Page, *cells: tuple[int, int], steps: int = 1) -> None:
    """From the first cell over the others, in straight and fast moves."""
    cell(page, *cells[0]).scroll_into_view_if_needed()
    page.mouse.move(*centre(page, *cells[0]))
    page.mouse.down()
    for one in cells[1:]:
        page.mouse.move(*centre(page, *one), steps=steps)
    page.mouse.up()


def kept(page: Page) -> list[list[bool]]:
    """What the picture draws as kept, [layers][heads]."""
    found: list[list[bool]] = page.evaluate(
        "[...document.querySelectorAll('#map [role=row]:not(.hm-top)')].map(row =>"
        " [...row.querySelectorAll('[role=gridcell]')].map(c => c.dataset.kept === 'true'))"
    )
    return found


def values(page: Page, root: str = "#map") -> list[list[float]]:
    """The values that the picture draws, [layers][heads]."""
    found: list[list[float]] = page.evaluate(
        "root => [...document.querySelectorAll(root + ' [role=row]:not(.hm-top)')].map(row =>"
        " [...row.querySelectorAll('[role=gridcell]')].map(c => Number(c.dataset.value)))",
        root,
    )
    return found


def wait_for_kept(page: Page, count: int) -> None:
    page.wait_for_function(
        "n => document.querySelectorAll('#map [data-kept=true]').length === n", arg=count
    )


def view(page: Page, name: str) -> None:
    page.locator("#view").get_by_text(name, exact=True).click()


def set_sparsity(page: Page, keys: str, times: int = 1) -> None:
    page.focus("#sparsity input[type=range]")
    for _ in range(times):
        page.keyboard.press(keys)
