"""`mask`: show, convert and compare mask files."""

from __future__ import annotations

import argparse
from typing import Any

from rlkv.commands.common import Result, add, mask_option, path, say_for


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("mask", help="look at, convert and compare mask files")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    show = add(verbs, "show", mask_show, "what a mask keeps")
    convert = add(verbs, "convert", mask_convert, "write a mask in another form")
    diff = add(verbs, "diff", mask_diff, "where two masks differ")
    for one in (show, convert):
        one.add_argument("mask", help="folder, .zip, .tsv, link text or Hub repo")
        one.add_argument("--sparsity", type=float, help="cut; default: the mask's own")
    convert.add_argument("out", type=path, help="a folder, or a path ending in .zip or .tsv")
    diff.add_argument("first", help="a mask")
    diff.add_argument("second", help="another mask of the same shape")


def mask_show(options: argparse.Namespace) -> Result:
    """The mask as a table of # (kept) and . (compressed)."""
    mask = mask_option(options)
    say = say_for(options)
    say(f"{mask.name or options.mask}: {mask.layers} layers x {mask.kv_heads} KV heads")
    say(
        f"keeps {mask.n_kept}, sparsity {mask.sparsity:.2f}, sink {mask.sink}, recent {mask.recent}"
    )
    for layer, (kept, scores) in enumerate(zip(mask.kept, mask.scores, strict=True)):
        cells = "".join("#" if k else "." for k in kept)
        say(f"{layer:3d}  {cells}  " + " ".join(f"{score:.2f}" for score in scores))
    return {
        "name": mask.name,
        "model": mask.model,
        "layers": mask.layers,
        "kv_heads": mask.kv_heads,
        "kept": mask.n_kept,
        "sparsity": mask.sparsity,
        "sink": mask.sink,
        "recent": mask.recent,
        "link": mask.to_link(),
        "notes": mask.info.get("notes", []),
    }


def mask_convert(options: argparse.Namespace) -> Result:
    """Folder, zip or tsv, by the name of the target; adapter_weights.tsv for RLKV's SGLang fork."""
    from rlkv.mask_files import PAPER_TSV, TSV, contents, write_adapter_weights, write_file

    mask = mask_option(options)
    ending = options.out.suffix.lower()
    if ending == ".zip":
        mask.save_zip(options.out)
    elif options.out.name == PAPER_TSV:
        write_file(write_adapter_weights(mask), options.out)
    elif ending == ".tsv":
        write_file(contents(mask)[TSV], options.out)
    else:
        mask.save(options.out)
    say_for(options)(f"Written to {options.out}")
    return {"out": str(options.out)}


def mask_diff(options: argparse.Namespace) -> Result:
    """Heads kept by one mask only, and how the rankings agree."""
    from rlkv.masks import HeadMask

    first, second = HeadMask.load(options.first), HeadMask.load(options.second)
    second.require_shape(*first.shape, options.first)
    differ = [(int(a), int(b)) for a, b in zip(*(first.kept != second.kept).nonzero(), strict=True)]
    both = int((first.kept & second.kept).sum())
    correlation = first.rank_correlation(second)
    say = say_for(options)
    say(f"kept by both: {both}, by one only: {len(differ)}, rank correlation: {correlation:.2f}")
    for layer, head in differ:
        say(f"{layer}.{head}  only {'first' if first.kept[layer, head] else 'second'}")
    return {"kept_by_both": both, "differ": differ, "rank_correlation": correlation}
