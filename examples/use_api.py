"""Uses a running app from a script: masks, memory, an answer under a mask, a short training.

    python app.py &                                   # or a Space: --app owner/name
    python examples/use_api.py --app http://127.0.0.1:7860 --train

Needs `gradio_client` alone. The endpoints are described in docs/api.md.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from gradio_client import Client

PUZZLE = "c=7; b=6; e:c-b; k:c-e; ?k"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", default="http://127.0.0.1:7860", help="address, or a Space's id")
    parser.add_argument("--train", action="store_true", help="also train for a few steps, and stop")
    options = parser.parse_args()
    app = Client(options.app, verbose=False)

    masks = app.predict(api_name="/list_masks")
    print(f"{len(masks)} masks")
    for mask in masks:
        print(f"  {mask['key']}: {mask['name']}, {mask['kept']} heads kept")
    mask = app.predict(mask=masks[0]["key"], api_name="/get_mask")
    print(
        f"Layer 0 of {mask['key']} keeps {sum(mask['kept_heads'][0])} of {mask['kv_heads']} heads"
    )
    print(f"  as a link: {mask['link']}")

    memory = app.predict(
        model=mask["model"], mask=mask["key"], length=1000, api_name="/estimate_memory"
    )
    print(
        f"KV cache of 1,000 tokens: {memory['kv_bytes_full']:,} bytes, under the mask "
        f"{memory['kv_bytes_compressed']:,} ({memory['kv_saved']:.0%} saved)"
    )

    # A job is handed back at once; what it answers so far comes in pieces, the last one whole.
    answer = app.submit(prompt=PUZZLE, mask=mask["key"], sides="both", api_name="/generate")
    states = list(answer)
    print(f"{len(states)} states of the answer; the last one:")
    for side in states[-1]["sides"]:
        text = " ".join(side["text"].split())[-60:]
        print(
            f"  {side['side']}: ... {text}  ({side['tokens']} tokens, {side['kv_bytes']:,} bytes)"
        )

    if options.train:
        train(app)


def train(app: Any) -> None:
    """Starts a training, waits for its first step, stops it, and shows what is left of it."""
    job = app.predict(
        settings={"steps": 50, "problems": 24, "prompts_per_step": 2, "eval_problems": 0},
        request_key=f"example-{time.time()}",
        api_name="/start_training",
    )
    print(f"job {job['id']}: {job['title']}")
    while job["state"] in ("queued", "starting", "running") and job["step"] == 0:
        time.sleep(1)
        job = app.predict(job_id=job["id"], api_name="/job")
    job = app.predict(job_id=job["id"], api_name="/stop_job")
    while job["state"] not in ("done", "failed", "cancelled"):
        time.sleep(1)
        job = app.predict(job_id=job["id"], api_name="/job")
    job = app.predict(job_id=job["id"], api_name="/job")
    print(f"  {job['state']} after {job['step']} steps: {job['message']}")
    print(f"  masks: {', '.join(job['masks']) or 'none'}")


if __name__ == "__main__":
    main()
