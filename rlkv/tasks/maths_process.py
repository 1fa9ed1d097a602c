"""Compares two mathematical answers: the program of the process that `rlkv.tasks.maths` keeps.

Run as a script. Reads one JSON list `[right, given]` a line, answers `true` or `false`. What a
model writes can take for ever to simplify (`9^{9^{9^{9}}}`), so every comparison has its own
alarm, which ends the whole process; whoever started it takes that as "not the same".
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys

MEMORY_BYTES = 2 * 2**30


def main(seconds: int) -> None:
    """Answers questions until stdin ends."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing else may speak on the channel
    logging.disable(logging.CRITICAL)
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    kinds = (LatexExtractionConfig(), ExprExtractionConfig())
    print(json.dumps(True), file=answers, flush=True)  # ready
    alarm = getattr(signal, "alarm", lambda seconds: 0)
    for line in sys.stdin:
        alarm(seconds)
        try:
            # An alarm of our own: math-verify's works in main threads only, and not inside C code.
            sides = [
                parse(f"${text}$", kinds, fallback_mode="no_fallback", parsing_timeout=None)
                for text in json.loads(line)
            ]
            same = all(sides) and verify(*sides, strict=True, timeout_seconds=None)
        except (Exception, RecursionError):
            same = False
        alarm(0)
        print(json.dumps(bool(same)), file=answers, flush=True)


if __name__ == "__main__":
    sys.setrecursionlimit(2000)
    os.environ["PYTHONWARNINGS"] = "ignore"
    main(int(sys.argv[1]))
