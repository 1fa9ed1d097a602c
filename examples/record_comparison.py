"""Records the comparison that plays on the app's first screen.

    python examples/record_comparison.py

Runs one problem with the full cache and under the shipped mask and writes every step to
`examples/comparison.json`: text, tokens, measured KV bytes and time of both sides.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rlkv.generation import Sampling, lockstep
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks.tracing import solve

HERE = Path(__file__).resolve().parent
PROMPT = "c=7; b=6; h=3; e:c-b; k:e+h; a:k-c; f:a+b; d:f-e; ?d"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mask", default=str(HERE / "masks" / "tracer"), help="mask to show")
    parser.add_argument("--sparsity", type=float, default=0.5, help="cut of the mask")
    parser.add_argument("--prompt", default=PROMPT, help="problem to solve")
    parser.add_argument("--out", type=Path, default=HERE / "comparison.json", help="file to write")
    args = parser.parse_args()
    mask = HeadMask.load(args.mask).at_sparsity(args.sparsity)
    model, tokenizer = load_model("tracer")
    for _ in range(2):  # the first run warms up, so that the recorded times are typical
        steps = list(lockstep(model, tokenizer, args.prompt, [None, mask], Sampling(256)))
    sides: list[dict[str, Any]] = []
    for i, label in enumerate(("Full cache", "Compressed")):
        seen = {step[i].n_tokens: step[i] for step in steps}
        sides.append(
            {
                "label": label,
                "steps": [
                    {
                        "text": side.text,
                        "n_tokens": side.n_tokens,
                        "length": side.length,
                        "kv_bytes": side.kv_bytes,
                        "seconds": round(side.seconds, 4),
                    }
                    for side in seen.values()
                ],
                "stop_reason": steps[-1][i].stop_reason,
            }
        )
    recording = {
        "model": "tracer",
        "prompt": args.prompt,
        "answer": solve(args.prompt)[1],
        "mask": {"sparsity": mask.sparsity, "sink": mask.sink, "recent": mask.recent},
        "sides": sides,
    }
    args.out.write_text(json.dumps(recording, separators=(",", ":")) + "\n")
    for side in sides:
        last = side["steps"][-1]
        print(f"{side['label']}: {last['text']!r} {last['kv_bytes']:,} bytes")


if __name__ == "__main__":
    main()
