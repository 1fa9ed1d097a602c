"""`jobs`: list, show, export, stop, resume and delete trainings."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rlkv.commands.common import Result, add, path, say_for
from rlkv.errors import UserError

MOST = 2**31
"""More jobs than there can be."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("jobs", help="list, show, export, stop and resume trainings")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = add(verbs, "list", jobs_list, "the newest jobs")
    listing.add_argument("--limit", type=int, default=20, help="how many (default: 20)")
    show = add(verbs, "show", jobs_show, "settings, versions, state and newest numbers of a job")
    metrics = add(verbs, "metrics", jobs_metrics, "write metrics (.csv) or gates (.npz) to a file")
    stop = add(verbs, "stop", jobs_stop, "stop a job and keep what it learned")
    resume = add(verbs, "resume", jobs_resume, "let an ended job go on in the background")
    delete = add(verbs, "delete", jobs_delete, "forget an ended job; its masks stay")
    for one in (show, metrics, stop, resume, delete):
        one.add_argument("job", help="its id")
    metrics.add_argument("--out", type=path, required=True, help="a path ending in .csv or .npz")


def jobs_list(options: argparse.Namespace) -> Result:
    """One line a job, newest first."""
    from rlkv.job_control import listed

    if options.limit < 1:
        raise UserError("--limit must be at least 1.")
    jobs = listed(min(options.limit, MOST))
    say = say_for(options)
    for job in jobs:
        say(f"{job['id']}  {job['state']:<11} {job['step']:>5}/{job['steps']:<5} {job['title']}")
    if not jobs:
        say("No job yet: start one with `python -m rlkv train --out my-mask`.")
    return {"jobs": jobs}


def jobs_show(options: argparse.Namespace) -> Result:
    """Everything that is kept of it, but the curves."""
    from rlkv.job_control import shown

    job = shown(options.job)
    say = say_for(options)
    for name, value in job.items():
        if isinstance(value, dict):
            say(f"{name}:")
            for key, item in value.items():
                say(f"  {key}: {item if isinstance(item, str) else json.dumps(item)}")
        else:
            say(f"{name}: {value}")
    return job


def jobs_metrics(options: argparse.Namespace) -> Result:
    """Metrics or gates by the ending of `--out`."""
    from rlkv.job_control import export

    export(options.job, options.out)
    say_for(options)(f"Written to {options.out}")
    return {"job": options.job, "out": str(options.out)}


def jobs_stop(options: argparse.Namespace) -> Result:
    """Returns at once; the job ends after its step, or within a minute by force."""
    from rlkv.job_control import stop

    return _told(options, stop(options.job))


def jobs_resume(options: argparse.Namespace) -> Result:
    """Returns at once; the job goes on in the background."""
    from rlkv.job_control import resume

    return _told(options, resume(options.job))


def jobs_delete(options: argparse.Namespace) -> Result:
    """Only where the job has ended."""
    from rlkv.job_control import delete

    delete(options.job)
    say_for(options)(f"Job {options.job} is forgotten; its masks are still there.")
    return {"deleted": options.job}


def _told(options: argparse.Namespace, job: dict[str, Any]) -> Result:
    say_for(options)(f"{job['id']} is {job['state']}")
    return job
