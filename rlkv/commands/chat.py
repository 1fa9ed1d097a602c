"""`chat`: a conversation, answered with the full and the split cache."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlkv.commands.common import Result, add, loaded, mask_option, model_options, say_for
from rlkv.errors import UserError

if TYPE_CHECKING:
    from rlkv.dialogue import Frame

NAMES = ("full", "compressed")


def add_parser(commands: Any) -> None:
    parser = add(commands, "chat", chat, "answer a question with the full and the split cache")
    parser.add_argument(
        "prompt", help='the question, e.g. "a=3; b=4; c:a+b; ?c"; "-": one a line from stdin'
    )
    model_options(parser)
    parser.add_argument("--mask", help="folder, .zip, .tsv or Hub repo; none: full cache only")
    parser.add_argument("--sparsity", type=float, help="cut; default: the mask's own")
    parser.add_argument("--system", help="system message, for models whose template takes one")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument("--top-p", type=float, default=1.0, help="share of the likeliest tokens")
    parser.add_argument(
        "--capture", action="store_true", help="decode with CUDA graphs (CUDA devices only)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling")


def chat(options: argparse.Namespace) -> Result:
    """Both answers in lockstep, with the KV bytes that each really holds; turn after turn."""
    from rlkv.dialogue import Keeper, Message, Sampling, SideSpec, converse
    from rlkv.headroom import Headroom

    if options.sparsity is not None and options.mask is None:
        raise UserError("--sparsity has nothing to cut: name a mask with --mask.")
    mask = mask_option(options)
    sampling = Sampling(
        options.max_new_tokens, options.temperature, options.top_p, seed=options.seed
    )
    model, tokenizer = loaded(options)
    if options.capture and model.device.type != "cuda":
        raise UserError("--capture needs a CUDA device; this model is on the " + str(model.device))
    system = (Message("system", options.system),) if options.system else ()
    specs = [SideSpec(one, system) for one in ([None] if mask is None else [None, mask])]
    keeper, headroom = Keeper(), Headroom(str(model.device))
    turns = []
    for question in _questions(options.prompt):
        specs = [replace(s, history=(*s.history, Message("user", question))) for s in specs]
        frames = converse(
            model, tokenizer, specs, sampling, keeper=keeper, headroom=headroom,
            capture=options.capture,
        )  # fmt: skip
        frame = deque(frames, maxlen=1).pop()  # each holds all text so far
        specs = [
            replace(spec, history=(*spec.history, Message("assistant", side.text)))
            for spec, side in zip(specs, frame.sides, strict=True)
        ]
        turns.append(_told(frame, options))
    if not turns:
        raise UserError("Write a question first.")
    return turns[-1] if len(turns) == 1 else {**turns[-1], "turns": turns}


def _questions(prompt: str) -> Iterator[str]:
    if prompt != "-":
        yield prompt
        return
    yield from (line.strip() for line in sys.stdin if line.strip())


def _told(frame: Frame, options: argparse.Namespace) -> Result:
    """Says both answers; the same as plain values."""
    result: Result = {}
    for name, side in zip(NAMES, frame.sides, strict=False):
        say_for(options)(
            f"--- {name}: {side.kv_bytes:,} KV bytes after {side.length} tokens, "
            f"{side.tokens_per_second:.0f} tokens/s\n{side.text}"
        )
        result[name] = {
            "text": side.text,
            "n_tokens": side.n_tokens,
            "length": side.length,
            "kv_bytes": side.kv_bytes,
            "kv_bytes_formula": side.kv_bytes_formula,
            "first_token_seconds": side.first_token_seconds,
            "seconds": side.seconds,
            "tokens_per_s": side.tokens_per_second,
            "stop_reason": side.stop_reason,
        }
    if len(frame.sides) == 1:
        return result
    full, compressed = frame.sides
    result["kv_saved"] = 1 - compressed.kv_bytes / full.kv_bytes if full.kv_bytes else 0.0
    result["common_prefix"] = frame.common_prefix(1)
    say_for(options)(f"--- the same for {result['common_prefix']} tokens")
    return result
