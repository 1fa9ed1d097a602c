"""Commands as they are typed, in this process."""

import json
from typing import Any

import pytest

from rlkv.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result
