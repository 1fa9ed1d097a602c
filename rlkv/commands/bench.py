"""`bench`: KV bytes and speed, full against split."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from rlkv.commands.common import Result, add, mask_option, say_for
from rlkv.errors import UserError


def add_parser(commands: Any) -> None:
    parser = add(commands, "bench", run_bench, "measure KV bytes and speed, full against split")
    parser.add_argument("--model", default="random:llama-135m", help="see `train`")
    parser.add_argument("--mask", help="folder, .zip, .tsv or Hub repo; none: a random mask")
    parser.add_argument("--sparsity", type=float, default=0.5, help="cut (default: 0.5)")
    parser.add_argument("--contexts", default="1024,4096", help="prompt lengths, by commas")
    parser.add_argument("--new-tokens", type=int, default=32, help="decoded tokens a row")
    parser.add_argument("--batch", type=int, default=1, help="rows of the batch")


def run_bench(options: argparse.Namespace) -> Result:
    """One row per context: our split cache, our full cache and the stock cache, interleaved."""
    from rlkv.bench import bench, table
    from rlkv.masks import HeadMask
    from rlkv.models import load_model, model_spec

    try:
        contexts = [int(text) for text in options.contexts.split(",")]
    except ValueError as error:
        raise UserError("--contexts takes whole numbers, by commas, such as 1024,4096.") from error
    mask = mask_option(options)
    model, _ = load_model(options.model)
    spec = model_spec(model)
    if mask is None:
        mask = HeadMask.random(spec.layers, spec.kv_heads, sparsity=options.sparsity, seed=0)
    say = say_for(options)
    rows = list(
        bench(
            model,
            mask,
            contexts=contexts,
            new_tokens=options.new_tokens,
            batch=options.batch,
            progress=say,
        )
    )
    say(table(rows))
    return {
        "model": options.model,
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "sink": mask.sink,
        "recent": mask.recent,
        "rows": [asdict(row) for row in rows],
    }
