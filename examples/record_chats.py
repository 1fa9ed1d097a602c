"""Records the conversations that play on the chat page without a model.

    python examples/record_chats.py
    python examples/record_chats.py --smollm2 HuggingFaceTB/SmolLM2-135M-Instruct

The second also records a pretrained model, from the Hub, a folder or a GGUF file. Each is written
to `examples/chats/`: every token of all sides with its probability, the measured KV bytes and its
time, in the format of `rlkv.dialogue.record`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlkv.dialogue import Sampling, SideSpec, converse
from rlkv.dialogue.export import make_record, to_json
from rlkv.masks import HeadMask
from rlkv.models import load_model
from ui.chat import filler
from ui.chat.answering import verdict
from ui.chat.plan import Plan, Settings
from ui.chat.running import Run
from ui.chat.sides import facts

HERE = Path(__file__).resolve().parent
MODEL = "tracer"
SHORT = "l=5; g=8; c=1; a:l+g; k:a-c; e:k+g; i:e-a; ?i"
LONG = "f=3; j=4; b=9; h:f+j; d:h-b; a:d+h; e:a-f; c:e+h; ?c"


@dataclass(frozen=True)
class Scene:
    """One conversation: a name, and for each question the masks that answer it."""

    file: str
    title: str
    questions: tuple[str, ...]
    masks: tuple[HeadMask | None, ...]
    change: tuple[int, HeadMask] | None = None
    """Tokens after which the last side gets another mask."""
    model: str = MODEL


def scenes(mask: HeadMask) -> list[Scene]:
    """What is recorded, of the shipped mask."""
    half = replace(mask.at_sparsity(0.5), name="learned")
    most = replace(mask.at_sparsity(0.9), name="learned")
    chance = replace(
        HeadMask.random(*mask.shape, sparsity=0.5, seed=1, model=MODEL),
        name="random", sink=mask.sink, recent=mask.recent,
    )  # fmt: skip
    return [
        Scene("1-half", "Half of the heads, the same answers", (SHORT, LONG), (None, half)),
        Scene("2-chosen", "Learned heads against random ones", (LONG,), (None, half, chance)),
        Scene("3-cut", "Cut while it writes", (LONG,), (None, half), (40, most)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mask", default=str(HERE / "masks" / "tracer"), help="mask to show")
    parser.add_argument("--out", type=Path, default=HERE / "chats", help="folder to write to")
    parser.add_argument("--smollm2", help="reference of SmolLM2-135M-Instruct, to record it too")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    loaded = load_model(MODEL)
    for scene in scenes(HeadMask.load(args.mask)):
        write(args.out, scene, loaded)
    if args.smollm2:
        loaded = load_model(args.smollm2)
        write(args.out, needle(loaded[1]), loaded)


def needle(tokenizer: Any) -> Scene:
    """A number to find in a long text, for SmolLM2."""
    mask = replace(HeadMask.load(HERE / "masks" / "smollm2-135m-repeat"), name="learned")
    question = filler.needle(filler.count_with(tokenizer), 1024, seed=1)
    title = "A number in a text of 1,024 tokens"
    return Scene("4-needle", title, (question,), (None, mask), model="SmolLM2-135M-Instruct")


def write(folder: Path, scene: Scene, loaded: tuple[Any, Any]) -> None:
    """Records one scene and says what came of it."""
    record = recorded(*loaded, scene)
    path = folder / f"{scene.file}.json"
    path.write_text(to_json(record) + "\n", encoding="utf-8")
    for message in record["messages"]:
        for side in (message.get("answer") or {}).get("sides", []):
            now = side["now"]
            print(f"{path.name} {side['name']}: {now['tokens']} tokens, {now['bytes']:,} bytes")


def recorded(model: Any, tokenizer: Any, scene: Scene) -> dict[str, Any]:
    """The record of one scene; every question is answered for itself."""
    messages: list[dict[str, Any]] = []
    for question in scene.questions:
        for _ in range(2):  # the first run warms up, so that the recorded times are typical
            answer = answered(model, tokenizer, question, scene)
        asked = len(messages) + 1
        parent = asked - 1 or None
        text = answer["sides"][0]["text"]
        messages += [
            {"id": asked, "parent": parent, "role": "user", "text": question},
            {"id": asked + 1, "parent": asked, "role": "assistant", "text": text, "answer": answer},
        ]
    return make_record(title=scene.title, model=scene.model, messages=messages, leaf=len(messages))


def answered(model: Any, tokenizer: Any, question: str, scene: Scene) -> dict[str, Any]:
    """One question's answer, as the chat page keeps it."""
    masks: Sequence[HeadMask | None] = scene.masks
    slots = tuple(range(len(masks)))
    plan = Plan(Settings(scene.model, (), slots), question)
    run = Run("", facts(masks, slots, [""] * len(masks)), plan)
    specs = [SideSpec(mask, plan.history(slot)) for mask, slot in zip(masks, slots, strict=True)]
    run.begin()
    for frame in converse(model, tokenizer, specs, Sampling(256), run.control):
        run.publish(frame)
        if scene.change is not None and frame.sides[-1].n_tokens == scene.change[0]:
            run.control.change(len(masks) - 1, scene.change[1])
    assert run.frame is not None
    run.extra = [verdict(plan, state) for state in run.frame.sides]
    return {**run.answer(), "run": ""}


if __name__ == "__main__":
    main()
