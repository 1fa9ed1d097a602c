"""The process that runs one job, and how jobs are put into the queue.

Beside `rlkv.job_control` the only part of `rlkv` that knows storage.
"""

from rlkv.worker.evaluating import create_evaluation, results_of
from rlkv.worker.process import (
    check_database,
    evaluate_here,
    main,
    resume_here,
    run_here,
    run_job,
)
from rlkv.worker.training import JobObserver, create

__all__ = [
    "JobObserver",
    "check_database",
    "create",
    "create_evaluation",
    "evaluate_here",
    "main",
    "results_of",
    "resume_here",
    "run_here",
    "run_job",
]
