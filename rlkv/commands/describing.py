"""The command line and its settings in words: the parts of two pages that are made of the code.

python -m rlkv.commands.describing docs/cli.md docs/settings.md    # writes them anew in place
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rlkv.cli import parser
from rlkv.evaluation.config import EvalConfig
from rlkv.training.config import PRESETS, TrainConfig

BEGIN, END = "<!-- made by: python -m rlkv.commands.describing ", "<!-- end of what is made -->"
SETTINGS: dict[str, tuple[type[BaseModel], str]] = {
    "train": (TrainConfig, "settings.md#settings-of-a-training"),
    "sweep": (EvalConfig, "settings.md#settings-of-an-evaluation"),
}
"""Commands whose options are the fields of a model, and where these are described."""
Action = argparse.Action


def commands() -> str:
    """Markdown of all commands with their arguments and options."""
    return "\n".join(_command(name, one) for name, one in leaves(parser()))


def settings() -> str:
    """Markdown of the settings of trainings, their presets, and the settings of evaluations."""
    return "\n".join(
        [
            "## Settings of a training\n",
            _fields(TrainConfig),
            "### Presets\n",
            "*quick* is the defaults above. The others change:\n",
            _presets(),
            "## Settings of an evaluation\n",
            _fields(EvalConfig),
        ]
    )


MADE: dict[str, Callable[[], str]] = {"cli.md": commands, "settings.md": settings}


def put_into(page: str, name: str) -> str:
    """The page with what stands between its marks made anew."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}docs/{name} -->\n\n{MADE[name]()}\n{END}{after}"


def leaves(top: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, Any]]:
    """(words, parser) of each command that can be run."""
    inner = [one for one in top._actions if isinstance(one, argparse._SubParsersAction)]
    if not inner:
        yield name, top
    for choices in inner:
        for word, one in choices.choices.items():
            yield from leaves(one, f"{name} {word}".strip())


def _command(name: str, one: argparse.ArgumentParser) -> str:
    model, place = SETTINGS.get(name, (None, ""))
    fields = set(model.model_fields) if model else set()
    actions = [a for a in one._actions if a.dest not in ("help", "json", *fields)]
    needed = "".join(f" {_spelled(a)}" for a in actions if a.required)
    parts = [f"## `{name}`\n", f"{_sentence(one.description or '')}\n"]
    parts.append(f"```text\npython -m rlkv {name}{needed}\n```\n")
    if actions:
        parts.append(table("argument or option", actions))
    if model:
        parts.append(f"Also every [setting]({place}), such as `--{_option(model)}`.\n")
    return "\n".join(parts)


def table(title: str, actions: Iterable[Action]) -> str:
    """Markdown of options, each with what its help says."""
    rows = [f"| `{_spelled(one)}` | {_help(one)} |" for one in actions]
    return "\n".join([f"| {title} | |", "|---|---|", *rows, ""])


def _spelled(action: Action) -> str:
    """An option as one types it, such as `--n N`."""
    value = action.metavar or action.dest.upper().replace("-", "_")
    if action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return str(action.metavar or action.dest)
    name = " / ".join(action.option_strings)
    return name if action.nargs == 0 else f"{name} {value}"


def _help(action: Action) -> str:
    text = _cell((action.help or "").replace("%(default)s", str(action.default)))
    untold = (
        "default" not in text
        and action.default not in (None, False, "", [])
        and not action.required
    )
    return f"{text} (default: {action.default})" if untold else text


def _option(model: type[BaseModel]) -> str:
    return next(name for name in model.model_fields if "_" in name).replace("_", "-")


def _fields(model: type[BaseModel]) -> str:
    rows = [
        f"| {field.title} | `{name}` | {_values(field)} | {_default(field)} | "
        f"{_cell(field.description or '')} |"
        for name, field in model.model_fields.items()
    ]
    return "\n".join(
        ["| in the form | name | values | default | |", "|---|---|---|---|---|", *rows, ""]
    )


def _presets() -> str:
    others = [name for name in PRESETS if name != "quick"]
    names = [n for n in TrainConfig.model_fields if any(n in PRESETS[one] for one in others)]
    rows = [
        f"| `{name}` | "
        + " | ".join(f"`{PRESETS[one][name]}`" if name in PRESETS[one] else "" for one in others)
        + " |"
        for name in names
    ]
    return "\n".join([f"| | {' | '.join(others)} |", "|---|---|---|", *rows, ""])


def _values(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(field.annotation))
    if field.annotation is bool:
        return "yes or no"
    limits: dict[str, Any] = {}
    for one in field.metadata:
        limits |= {
            sign: getattr(one, sign) for sign in ("ge", "gt", "le", "lt") if hasattr(one, sign)
        }
    low = f"{limits['ge']:,} or more" if "ge" in limits else ""
    low = f"above {limits['gt']:,}" if "gt" in limits else low
    if "le" in limits:
        top = f"{limits['le']:,}"
        return f"{limits['ge']:,} to {top}" if "ge" in limits else f"{low}, up to {top}"
    if "lt" in limits:
        return f"{low}, below {limits['lt']:,}"
    return low or ("text" if field.annotation is str else "a list")


def _default(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, tuple):
        return ", ".join(f"`{one}`" for one in default) or "none"
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"`{default}`" if default != "" else ""


def _cell(text: str) -> str:
    return text.replace("%%", "%").replace("|", "\\|")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


if __name__ == "__main__":
    for target in map(Path, sys.argv[1:]):
        target.write_text(put_into(target.read_text(), target.name))
