"""The command line: `python -m rlkv COMMAND`.

Every command prints for people, and with `--json` one JSON object as its last line. A user's
mistake is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from rlkv import __version__
from rlkv.commands import bench, chat, diagnose, evaluate, heads, jobs, masks, sweep, train
from rlkv.commands.common import Result
from rlkv.environment import prepare_environment
from rlkv.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = parser().parse_args(arguments)
    prepare_environment()
    try:
        result: Result = options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    code = int(result.pop("exit_code", 0))
    if options.json:
        print(json.dumps(result), flush=True)
    return code


class _Parser(argparse.ArgumentParser):
    """One whose refusals are one line: argparse puts all options before them, 40 lines of them."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = _Parser(
        prog="python -m rlkv",
        description="Find the attention heads a reasoning model needs, and run it with only those.",
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (train, jobs, evaluate, sweep, bench, masks, heads, chat, diagnose):
        command.add_parser(commands)
    return top
