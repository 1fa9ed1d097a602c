"""`chat`: one question, the full and the split cache."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from rlkv.commands.common import Result, add, mask_option, model_options, say_for
from rlkv.errors import UserError


def add_parser(commands: Any) -> None:
    parser = add(commands, "chat", chat, "answer one question with the full and the split cache")
    parser.add_argument("prompt", help='the question, e.g. "a=3; b=4; c:a+b; ?c"')
    model_options(parser)
    parser.add_argument("--mask", help="folder, .zip, .tsv or Hub repo; none: full cache only")
    parser.add_argument("--sparsity", type=float, help="cut; default: the mask's own")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument(
        "--capture", action="store_true", help="decode with CUDA graphs (CUDA devices only)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling")


def chat(options: argparse.Namespace) -> Result:
    """Both answers in lockstep, with the KV bytes that each really holds."""
    from rlkv.generation import Sampling, lockstep
    from rlkv.models import load_model

    mask = mask_option(options)
    sampling = Sampling(
        max_new_tokens=options.max_new_tokens, temperature=options.temperature, seed=options.seed
    )
    model, tokenizer = load_model(options.model, device=options.device, dtype=options.dtype)
    if options.capture and model.device.type != "cuda":
        raise UserError("--capture needs a CUDA device; this model is on the " + str(model.device))
    masks = [None] if mask is None else [None, mask]
    *_, sides = lockstep(model, tokenizer, options.prompt, masks, sampling, capture=options.capture)
    result: Result = {}
    for name, side in zip(("full", "compressed"), sides, strict=False):
        say_for(options)(
            f"--- {name}: {side.kv_bytes:,} KV bytes after {side.length} tokens, "
            f"{side.tokens_per_second:.0f} tokens/s\n{side.text}"
        )
        result[name] = asdict(side) | {"tokens_per_s": side.tokens_per_second}
    if mask is not None:
        result["kv_saved"] = 1 - sides[1].kv_bytes / sides[0].kv_bytes
    return result
