"""`doctor`: check this machine."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from rlkv.commands.common import Result, add, say_for


def add_parser(commands: Any) -> None:
    add(commands, "doctor", doctor, "check this machine and say what to do")


def doctor(options: argparse.Namespace) -> Result:
    """Exit code 1 if something has to be done."""
    from rlkv.doctor import examine

    checks = examine()
    say = say_for(options)
    for check in checks:
        say(f"{'ok ' if check.ok else 'BAD'}  {check.name}: {check.detail}")
        if check.advice:
            say(f"     {check.advice}")
    bad = [check.name for check in checks if not check.ok]
    say(f"To do: {', '.join(bad)}." if bad else "Ready.")
    return {"ok": not bad, "checks": [asdict(c) for c in checks], "exit_code": int(bool(bad))}
