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
import unicodedata
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

_EXPONENT = r"(?:[eE][-+]?\d{1,3}(?!\d))?"  # short: 1e999999999 would fill the memory
_NUMBER = re.compile(rf"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+){_EXPONENT}")
_PLAIN = re.compile(rf"[-+]?(?:(?:\d+|\d{{1,3}}(?:,\d{{3}})+)(?:\.\d*)?|\.\d+){_EXPONENT}")
_WORDED = re.compile(r"(?:[^\\^_{}()\[\]*/+=<>|!-]|-(?=[\d.])|(?<=[A-Za-z])-)*")
_DENIED = re.compile(r"\b(?:not|never)\b|n['\u2019]t\b", re.IGNORECASE)
_CHANGED = re.compile(r"\d\s*(?:[xyzi](?![A-Za-z])|e(?![A-Za-z\d+-]))|π")
"""What makes another number of the one before it, unlike a unit."""
_SMALL = re.compile(r"(?<![A-Za-z])[²³¹⁰⁴-⁹₀-₉¼-¾⅐-⅞]")
"""Small digits, which math-verify does not see: 18² and 18½, but not 18 cm²."""
_COMPARED = re.compile(r"[≥≤≠≈±]")
_SCALE = re.compile(
    r"\d(?:[\s-]*(hundred|thousand|million|billion|trillion)(th)?s?\b|(k)\b)", re.IGNORECASE
)
_SCALES = {"hundred": 2, "thousand": 3, "k": 3, "million": 6, "billion": 9, "trillion": 12}
"""Words that belong to the number before them, as powers of ten."""
_OTHERWISE = re.compile(
    r"\b(?:double|twice|triple|thrice|half|than)\s+(?:of\s+)?\$?[-\d.]"
    r"|\b(?:root|square|cube|third|quarter|fourth|fifth|tenth|logarithm)\s+of\s+\$?[-\d.]"
    r"|\d\s+(?:squared|cubed|factorial)\b|\d\s+to\s+the\s+(?:\w+\s+)?power\b"
    r"|\band\s+(?:an?|one|two|three)[\s-]+(?:half|thirds?|quarters?|fourths?)\b|\bor\b",
    re.IGNORECASE,
)
"""Words by which a number is not the answer, or not the only one: "twice 18", "18 or nineteen"."""
_MINUS = str.maketrans(dict.fromkeys("\u2212\u2013\ufe63\uff0d", "-"))
_SIGN = re.compile(r"-\s*\\?\$(?=[\d.])|\b(?:minus|negative)\s+(?=[\d.])", re.IGNORECASE)
_NAME = re.compile(r"\s*(?:[A-Za-z]|\\[A-Za-z]+)(?:\([a-z]\))?\s*")
_CHOICE = re.compile(
    r"\bor\b|\\lor|\\vee|\\text\s*\{\s*or\s*\}|\\pm|\\cup|\\approx|\\sim|\\dots|\\ldots|;"
)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}")
_FILLER = re.compile(r"(?<!\\)\\(?:left(?![a-z])|right(?![a-z])|displaystyle|[,!;]|\s)")


def same_maths(given: str, right: str) -> bool:
    """Whether `given` is the answer `right`: 0.5 is 1/2, "18 eggs" is 18, "2 million" 2000000.

    A list of guesses is not: several numbers for one, alternatives ("3 or 4"), or a chain of
    equations any side of which is something else. Nor is what is denied ("not 18") or said of
    another number ("twice 18").
    """
    given, right = _clean(given), _clean(right)
    words = _in_words(given)
    if words == _in_words(right):
        return bool(words)
    if any(sign.search(words) and not sign.search(right) for sign in (_DENIED, _SMALL)):
        return False
    number = _plain_number(right)
    if number is not None and (same := _says(words, number)) is not None:
        return same
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


def _says(words: str, number: Fraction) -> bool | None:
    """Whether words say this number; None if they say none, or more than words and units."""
    plain = _plain_number(words)
    if plain is not None:
        return plain == number
    if _COMPARED.search(words) or _OTHERWISE.search(words):
        return False
    signs = any(c > "\x7f" and unicodedata.category(c) == "Sm" for c in words)
    if signs or _CHANGED.search(words) or not _WORDED.fullmatch(words):
        return None
    numbers = _NUMBER.findall(words)
    if not numbers:
        return None
    said = _plain_number(numbers[0].rstrip(","))
    return len(numbers) == 1 and said is not None and said * _scale(words) == number


def _scale(words: str) -> Fraction:
    """What a word behind the number makes of it: 10**6 for "18 million", 1 for "18 eggs"."""
    found = _SCALE.search(words)
    if found is None:
        return Fraction(1)
    power = _SCALES[(found[1] or found[3]).lower()]
    return Fraction(10) ** (-power if found[2] else power)


def _clean(answer: str) -> str:
    text = _SIGN.sub("-", tidy(answer).translate(_MINUS))
    return _FILLER.sub("", text).replace("\\$", "").replace("\\%", "%").strip()


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
