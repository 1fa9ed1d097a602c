"""`python -m rlkv.training.launcher N MODULE ...`: runs a module as N ranks on this machine.

torch's launcher without its report: a rank has said by itself what went wrong. The exit code is
that of the rank that failed first. Where memory ran out and fewer rows may do, all are started
again.
"""

from __future__ import annotations

import logging
import os
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from rlkv.training.launching import AGAIN, RESTARTS


def main(arguments: list[str]) -> int:
    """Runs until every rank has ended."""
    processes, *module = arguments
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    options = ["--standalone", "--nproc-per-node", processes, "-m", *module]
    try:
        run.run(run.parse_args(options))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        first = min(error.failures.values(), key=lambda failure: failure.timestamp)
        if first.exitcode == AGAIN and RESTARTS in os.environ:
            # In this process's place, so that whoever watches it keeps watching.
            os.execv(sys.executable, [sys.executable, "-m", "rlkv.training.launcher", *arguments])
        return abs(first.exitcode)
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
