"""`python -m rlkv.training.launcher N MODULE ...`: runs a module as N ranks on this machine.

torch's launcher without its report: a rank has said by itself what went wrong. It ends as the
rank that failed first did; where that one was killed, with 128 and the signal's number, or by
SIGKILL for a job, which is then taken up again. Where memory ran out and fewer rows may do, all
are started again.
"""

from __future__ import annotations

import logging
import os
import signal
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
        if first.exitcode < 0 and RESTARTS in os.environ:
            # Killed, not failed: the end must look so, or nobody takes the job up again.
            os.kill(os.getpid(), signal.SIGKILL)
        return first.exitcode if first.exitcode >= 0 else 128 - first.exitcode
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
