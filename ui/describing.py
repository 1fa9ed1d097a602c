"""The app's options in words: the part of docs/cli.md that `rlkv` can't make, as it knows no `ui`.

python -m ui.describing docs/cli.md     # writes it anew between its two marks
"""

from __future__ import annotations

import sys
from pathlib import Path

from rlkv.commands.describing import END, table
from ui.__main__ import parser

BEGIN = "<!-- made by: python -m ui.describing docs/cli.md -->"


def options() -> str:
    """Markdown of the app's options."""
    return table("app option", [one for one in parser()._actions if one.dest != "help"])


def put_into(page: str) -> str:
    """The page with what stands between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{options()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    for target in map(Path, sys.argv[1:]):
        target.write_text(put_into(target.read_text()))
