"""`train`: learn the gates of a model and write the mask."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from rlkv.commands.common import Result, add, field_options, path, require_folder, say_for
from rlkv.errors import UserError


def add_parser(commands: Any) -> None:
    """Its options are the fields of TrainConfig."""
    from rlkv.training.config import PRESETS, TrainConfig

    parser = add(commands, "train", train, "learn the gates of a model and write the mask")
    parser.add_argument("--out", type=path, required=True, help="folder to write the mask to")
    parser.add_argument(
        "--from-job", metavar="ID", help="begin with the settings of this job; options change them"
    )
    parser.add_argument("--preset", default="quick", help=f"one of: {', '.join(PRESETS)}")
    field_options(parser, TrainConfig)


def train(options: argparse.Namespace) -> Result:
    """Runs a training in this process; it is a job like any other and shows in the app."""
    from rlkv.gate_history import FILE
    from rlkv.job_control import export
    from rlkv.training import ranks
    from rlkv.training.config import make_config
    from rlkv.training.launching import spread_out
    from rlkv.training.memory import refuse_what_cannot_fit
    from rlkv.worker import run_here

    say = say_for(options)
    given = _given(options, say)
    config = make_config(given, options.preset)
    require_folder(options.out)
    refuse_what_cannot_fit(config)
    spread_out(config, ["rlkv", *_arguments(options, given)])
    if not ranks.is_main():
        raise SystemExit(ranks.follow())
    ranks.watch_launcher()
    job, mask = run_here(config, say, cloned_from=options.from_job)
    if job.state == "failed":
        if job.exit_code == 2:
            raise UserError(job.message)
        return {"job": job.id, "state": job.state, "message": job.message, "exit_code": 1}
    say(job.message)
    if mask is None:
        return {"job": job.id, "state": job.state, "message": job.message}
    mask.save(options.out)
    export(job.id, options.out / FILE)
    say(f"Mask written to {options.out}")
    return {
        "job": job.id,
        "state": job.state,
        "mask": str(options.out),
        "steps": mask.info["steps_done"],
        **mask.info.get("metrics", {}),
    }


def _given(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """The settings that were typed, over those of the job to begin with."""
    from rlkv.training.config import TrainConfig

    typed = {
        name: getattr(options, name)
        for name in TrainConfig.model_fields
        if getattr(options, name) is not None
    }
    if options.from_job is None:
        return typed
    return {**_settings_of(options.from_job, say), **typed}


def _settings_of(job_id: str, say: Callable[[str], None]) -> dict[str, Any]:
    from rlkv.job_control import settings_of
    from rlkv.training.cloning import carried_over

    values, notes = carried_over(settings_of(job_id))
    for note in notes:
        say(note)
    return values


def _arguments(options: argparse.Namespace, given: dict[str, Any]) -> list[str]:
    """The command line that gives these options."""
    from rlkv.training.config import as_options

    words = ["train", "--out", str(options.out), "--preset", options.preset]
    if options.from_job:
        words += ["--from-job", options.from_job]
    words += as_options(given)
    return [*words, "--json"] if options.json else words
