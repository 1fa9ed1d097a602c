"""`sweep`: accuracy of masks and other methods over many sparsities, as a job."""

from __future__ import annotations

import argparse
from typing import Any

from rlkv.commands.common import Result, add, field_options, path, require_folder, say_for
from rlkv.errors import UserError


def add_parser(commands: Any) -> None:
    """Its options are the fields of EvalConfig."""
    from rlkv.evaluation.config import EvalConfig
    from rlkv.evaluation.methods import METHODS

    parser = add(commands, "sweep", sweep, "accuracy of masks and other methods over sparsities")
    parser.add_argument(
        "--mask",
        action="append",
        default=[],
        help="learned mask: folder, .zip, .tsv or Hub repo; may be repeated",
    )
    parser.add_argument("--out", type=path, help="folder for points, answers and curves")
    parser.add_argument("--resume", metavar="ID", help="go on with this stopped job")
    notes = {"methods": f"; of {', '.join(METHODS)}"}
    field_options(parser, EvalConfig, without={"masks"}, notes=notes)


def sweep(options: argparse.Namespace) -> Result:
    """Runs an evaluation in this process; it is a job like any other and shows in the app."""
    from rlkv.evaluation.config import EvalConfig, MaskEntry, make_eval_config
    from rlkv.masks import HeadMask
    from rlkv.worker import evaluate_here, resume_here

    say = say_for(options)
    if options.out is not None:
        require_folder(options.out)
    if options.resume is not None:
        done = resume_here(options.resume, say)
    else:
        given = {
            name: getattr(options, name)
            for name in EvalConfig.model_fields
            if name != "masks" and getattr(options, name) is not None
        }
        if "methods" in given:
            given["methods"] = [part.strip() for part in given["methods"].split(",")]
        given["masks"] = [MaskEntry.of(HeadMask.load(one), key=one) for one in options.mask]
        done = evaluate_here(make_eval_config(given), say)
    return _told(options, done)


def _told(options: argparse.Namespace, done: Any) -> Result:
    say = say_for(options)
    job = done.job
    if job.state == "failed":
        if job.exit_code == 2:
            raise UserError(job.message)
        return {"job": job.id, "state": job.state, "message": job.message, "exit_code": 1}
    _print_table(done.results, say)
    say(f"{job.message} (job {job.id})")
    if job.state != "done":
        say(f"Go on with: python -m rlkv sweep --resume {job.id}")
    if options.out:
        from rlkv.evaluation.answers import FILE, write_answers
        from rlkv.evaluation.export import write

        write(options.out, done.results, done.samples, job.params, job.versions)
        write_answers(options.out / FILE, done.problems, done.cells, done.samples)
        say(f"Written to {options.out}")
    points = {
        one.key: {f"{point.sparsity:g}": point.accuracy for point in one.points}
        for one in done.results.series
    }
    full = done.results.full
    return {
        "job": job.id,
        "state": job.state,
        "samples": done.results.samples,
        "accuracy_full": full.accuracy if full else None,
        "accuracy": points,
    }


def _print_table(results: Any, say: Any) -> None:
    """Rows are methods, columns sparsities."""
    columns = sorted({point.sparsity for one in results.series for point in one.points})
    say("accuracy at sparsity".ljust(30) + "".join(f"{s:>7g}" for s in columns))
    if results.full:
        say("Full cache".ljust(30) + f"{results.full.accuracy:>7.3f}")
    for one in results.series:
        at = {point.sparsity: f"{point.accuracy:>7.3f}" for point in one.points}
        title = f"{one.title}, top compressed" if one.top else one.title
        say(title[:29].ljust(30) + "".join(at.get(s, " " * 7) for s in columns))
