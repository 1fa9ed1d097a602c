"""Whether two mathematical answers are the same, whatever a model may have written.

Plain numbers are compared here. Everything else goes to math-verify, in a process of its own
that is started on first use, limited in time and memory, and started anew after it had to be
ended: a hostile expression costs seconds and earns nothing.
"""

from __future__ import annotations

import atexit
import json
import re
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

from rlkv.tasks.answers import tidy

SECONDS = 4
"""For one comparison."""
START_SECONDS = 60
"""For the process to begin: on a busy machine sympy takes its time."""
MAX_LENGTH = 600
"""Characters of an answer that is looked at."""
MAX_DEPTH = 12
"""Brackets inside brackets."""

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_PLAIN = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d*)?|[-+]?\.\d+")
_WORDED = re.compile(r"(?:[^\\^_{}()\[\]*/+=<>|!-]|-(?=[\d.])|(?<=[A-Za-z])-)*")
_NAME = re.compile(r"\s*(?:[A-Za-z]|\\[A-Za-z]+)(?:\([a-z]\))?\s*")
_CHOICE = re.compile(
    r"\bor\b|\\lor|\\vee|\\text\s*\{\s*or\s*\}|\\pm|\\cup|\\approx|\\sim|\\dots|\\ldots|;"
)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}")
_FILLER = re.compile(r"(?<!\\)\\(?:left(?![a-z])|right(?![a-z])|displaystyle|[,!;]|\s)")


def same_maths(given: str, right: str) -> bool:
    """Whether `given` is the answer `right`: 0.5 is 1/2, and "18 eggs" is 18.

    A list of guesses is not: several numbers for one, alternatives ("3 or 4"), or a chain of
    equations any side of which is something else.
    """
    given, right = _clean(given), _clean(right)
    words = _in_words(given)
    if words == _in_words(right):
        return bool(words)
    number = _plain_number(right)
    if number is not None and _WORDED.fullmatch(words):
        numbers = _NUMBER.findall(words)
        if numbers:
            return len(numbers) == 1 and _plain_number(numbers[0].rstrip(",")) == number
    if not (given and right) or max(len(given), len(right)) > MAX_LENGTH or _deep(given):
        return False
    if _CHOICE.search(given) and not _CHOICE.search(right):
        return False
    if "," not in right and "," in re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", given):
        return False
    if "=" in given and "=" not in right:
        sides = [side for side in given.split("=") if not _NAME.fullmatch(side)]
        return bool(sides) and all(_PROCESS.same(right, side.strip()) for side in sides)
    return _PROCESS.same(right, given)


def is_number(answer: str) -> bool:
    """Whether an answer is one plain number."""
    return _plain_number(_clean(answer)) is not None


def _clean(answer: str) -> str:
    return _FILLER.sub("", tidy(answer)).replace("\\$", "").replace("\\%", "%").strip()


def _plain_number(text: str) -> Fraction | None:
    if len(text) > MAX_LENGTH or not _PLAIN.fullmatch(text.strip()):
        return None
    return Fraction(text.replace(",", "").rstrip("."))


def _in_words(text: str) -> str:
    """With `\\text{...}` as plain words."""
    return " ".join(_TEXT.sub(r" \1 ", text).split())


def _deep(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_DEPTH:
            return True
    return False


class _MathsProcess:
    """The one process, shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def same(self, right: str, given: str) -> bool:
        """Asks math-verify; no answer in time, for whatever reason, means no."""
        with self._lock:
            process = self._process or self._start()
            reply = self._ask(process, json.dumps([right, given]), SECONDS + 1)
            if reply is None:
                self._end()
            return reply is True

    def _start(self) -> subprocess.Popen[str]:
        program = Path(__file__).with_name("maths_process.py")
        # -P: the folder of the program must not stand in for packages of the same names.
        command = [sys.executable, "-P", "-W", "ignore", str(program), str(SECONDS)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        if self._ask(self._process, None, START_SECONDS) is not True:
            self._end()
            raise RuntimeError("math-verify does not start; is the package installed?")
        return self._process

    def _ask(self, process: subprocess.Popen[str], line: str | None, seconds: float) -> object:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            if line is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            reply = process.stdout.readline()
            return json.loads(reply) if reply else None
        except (OSError, ValueError):
            return None
        finally:
            timer.cancel()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # what it had no time to read
        process.wait()

    def close(self) -> None:
        """Ends the process; the next comparison starts another."""
        with self._lock:
            self._end()


_PROCESS = _MathsProcess()
atexit.register(_PROCESS.close)
