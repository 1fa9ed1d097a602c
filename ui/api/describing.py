"""The endpoints in words: the part of docs/api.md that is made of their own code.

python -m ui.api.describing docs/api.md     # writes it anew between its two marks
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any

from ui.api import answers
from ui.api.endpoints import Endpoint, answer_of, endpoints
from ui.studio import Studio

BEGIN = "<!-- made by: python -m ui.api.describing docs/api.md -->"
END = "<!-- end of what is made -->"


def described() -> str:
    """Markdown of all endpoints, then of what they answer."""
    found = endpoints(typing.cast(Studio, None))  # only looked at, never called
    kinds = [one for one in vars(answers).values() if typing.is_typeddict(one)]
    return "\n".join([*map(_endpoint, found), "## What they answer\n", *map(_answer, kinds)])


def put_into(page: str) -> str:
    """The page with what stands between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{described()}\n{END}{after}"


def _endpoint(endpoint: Endpoint) -> str:
    words, said = _doc(endpoint)
    hints = typing.get_type_hints(endpoint)
    rows = []
    for name, parameter in inspect.signature(endpoint).parameters.items():
        default = parameter.default
        shown = "" if default is inspect.Parameter.empty else f"`{default!r}`"
        rows.append(f"| `{name}` | `{_type(hints[name])}` | {shown} | {said[name]} |")
    table = "\n".join(["| input | type | default | |", "|---|---|---|---|", *rows, ""])
    streams = "a stream of " if inspect.isgeneratorfunction(endpoint) else ""
    answer = f"Answers {streams}`{_type(answer_of(endpoint))}`."
    return f"### `/{endpoint.__name__}`\n\n{words}\n\n{table}\n{answer}\n"


def _answer(kind: Any) -> str:
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    rows, above = [], [b.id for b in tree.bases if isinstance(b, ast.Name) and b.id != "TypedDict"]
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            words = _words(after).replace("|", "\\|")
            rows.append(
                f"| `{node.target.id}` | `{ast.unparse(node.annotation)}` | {words} |".replace(
                    " | None`", " or null`"
                )
            )
    more = f" All of `{above[0]}`, and:" if above else ""
    table = "\n".join(["| field | type | |", "|---|---|---|", *rows])
    return f"### {tree.name}\n\n{kind.__doc__}{more}\n\n{table}\n"


def _doc(endpoint: Endpoint) -> tuple[str, dict[str, str]]:
    """The first part of a docstring, and the words of each parameter."""
    words, _, rest = inspect.getdoc(endpoint).partition("\n\nArgs:\n")  # type: ignore[union-attr]
    parts = re.split(r"^ {4}(\w+): ", rest, flags=re.MULTILINE)[1:]
    said = (" ".join(text.split()) for text in parts[1::2])
    return words, dict(zip(parts[::2], said, strict=True))


def _words(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def _type(hint: Any) -> str:
    if typing.is_typeddict(hint):
        return str(hint.__name__)
    text = str(hint) if typing.get_args(hint) else str(hint.__name__)
    text = text.replace("typing.", "").replace("ui.api.answers.", "")
    return text.replace(" | None", " or null")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(put_into(target.read_text()))
