"""The fields beside the transcript: what they offer for a model, and what they change while it
writes."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import Dependency

from rlkv.errors import UserError
from ui import zero_gpu
from ui.chat import filler, reach, sides
from ui.chat.layout import HINT, Page, Side
from ui.chat.plan import settings_of
from ui.chat.running import Run, Runs
from ui.chat.sides import SHOWN
from ui.engine import MODEL
from ui.events import FOLLOWS, MODEL_RUNS, PRIVATE, QUIET
from ui.mask_hint import mask_hint
from ui.messages import told
from ui.models.allowed import require_allowed
from ui.models.facts import facts_of
from ui.studio import Studio

if TYPE_CHECKING:
    from rlkv.model_facts import ModelFacts

SLOW_ON_CPU = 16_000
"""Tokens from which reading a prompt takes minutes on a CPU, of the embedded model too."""
OTHER_HINT = (
    '<p class="note">Both sides read the same words under the same seed. Enter sends, Shift+Enter '
    "begins a new line, Esc stops.</p>"
)


def wire_fields(studio: Studio, runs: Runs, p: Page, wanted: gr.State, opening: Dependency) -> None:
    """Wires the choice of sides, masks, and the buttons that fill the prompt.

    They are filled for the first time after `opening`, before anybody can have changed them: once
    the model has loaded would be too late.
    """
    model = p.picker.model

    def offered(ref: Any, wanted_key: str, longest: Any, before: Any) -> list[Any]:
        """Filled anew where the model, or what is known of its shape, has changed; how long answers
        are only with another model."""
        model = str(ref or MODEL)
        now = (model, _shape(studio, model))
        if before == now:
            return [gr.skip()] * (1 + len(everything))
        same = model == (before[0] if before else MODEL)
        return [now, *_offered(studio, model, wanted_key, _whole(longest) if same else None)]

    def which(shown: str) -> list[Any]:
        slots = SHOWN.get(shown, SHOWN["both"])
        return [gr.update(visible=i in slots) for i in range(len(p.sides))]

    everything = [
        p.no_mask, p.samples, p.status, p.sampling.remember, p.sampling.longest,
        *[field for side in p.sides for field in [side.cut, *side.fields()]],
        *p.filling.buttons, p.filling.note,
    ]  # fmt: skip
    filled = gr.State(None)
    taken, given = [model, wanted, p.sampling.longest, filled], [filled, *everything]
    opening.then(offered, taken, given, **QUIET)
    gr.on([model.change, p.picker.loaded.change], offered, taken, given, **QUIET)
    keys = [side.key for side in p.sides]
    # Unchecked: what the page still shows of the model before is no choice any more.
    gr.on(
        [model.change, *(key.change for key in keys)],
        lambda ref, *keys: mask_hint(studio, keys, str(ref or MODEL)),
        [model, *keys], p.other, preprocess=False, **FOLLOWS,
    )  # fmt: skip
    p.which.change(which, p.which, [side.box for side in p.sides], **QUIET)
    p.sampling.longest.change(
        lambda ref, longest: _fills(studio, str(ref or MODEL), longest),
        [model, p.sampling.longest], [*p.filling.buttons, p.filling.note], **QUIET,
    )  # fmt: skip
    for i, side in enumerate(p.sides):
        _wire_side(studio, runs, p, i, side)
    for button, length in zip(p.filling.buttons, filler.LENGTHS, strict=True):
        button.click(
            lambda ref, longest, n=length: _filled(studio, str(ref or MODEL), longest, n),
            [model, p.sampling.longest], [p.question, p.filling.note], **MODEL_RUNS,
        )  # fmt: skip


def _wire_side(studio: Studio, runs: Runs, p: Page, i: int, side: Side) -> None:
    def chosen(key: str) -> list[Any]:
        saved = sides.as_saved(studio, str(key or sides.FULL))
        return [gr.update(visible=not saved.is_full), saved.sparsity, saved.sink, saved.recent]

    def changed(request: gr.Request, *fields: Any) -> None:
        run = runs.of(request.session_hash or "")
        if run is None or run.state != "running":
            return
        with told():
            _change(studio, run, i, fields)

    settings = p.settings()
    picked = side.key.input(
        chosen, side.key, [side.cut, side.sparsity, side.sink, side.recent], **QUIET
    )
    picked.then(changed, settings, None, **PRIVATE)
    for event in (side.sparsity.input, side.sink.input, side.recent.input):
        event(changed, settings, None, trigger_mode="always_last", **PRIVATE)


def _change(studio: Studio, run: Run, slot: int, fields: Any) -> None:
    """Puts a side of a running answer under the mask that the fields say now.

    Raises:
        UserError: if they make no sense.
    """
    plan = run.plan
    if slot not in plan.settings.slots:
        return
    if run.order is not None:
        raise UserError("The sides of a blind comparison can't be changed until you vote.")
    zero_gpu.require_changeable(plan.settings.model)
    most = studio.settings.longest_answer
    now = settings_of(plan.settings.model, "three", fields[2:14], [False, *fields[15:]], most)
    facts = facts_of(plan.settings.model)
    if facts is None:
        return
    shape = (facts.layers, facts.kv_heads)
    mask = sides.mask_of(studio, now.sides[slot], shape, plan.settings.model)
    place = plan.settings.slots.index(slot)
    said = sides.side_facts(mask, now.sides[slot].key)
    names: tuple[str, ...] = ("name", "hint", "mask")
    if mask is not None and run.sides[place]["name"] == sides.COMPRESSED:
        names = ("hint", "mask")  # what the only side with a mask is called stays true
    run.ask_change(place, mask, {name: said[name] for name in names})


def _offered(studio: Studio, model: str, wanted: str, said: int | None) -> list[Any]:
    """The fields for a model: its masks, its kind of question, how long its prompts can be.

    `said`: the longest answer where the page has one for this model already, which is left alone.
    """
    shape, facts = _shape(studio, model), _facts(studio, model)
    context = _context(studio, model, facts)
    options = sides.choices(studio, model, shape, wanted)
    best = sides.default_choice(studio, model, shape, wanted)
    own = model == MODEL
    longest = said or (256 if own else 512)
    third = sides.as_saved(studio, sides.RANDOM)
    rows: list[Any] = []
    for one in (sides.Choice(sides.FULL, 0.5, 16, 64), best, third):
        window = best if one is third else one  # the same window: only the choice of heads differs
        rows += [
            gr.update(visible=not one.is_full),
            gr.update(choices=options, value=one.key),
            best.sparsity if one is third else one.sparsity,
            window.sink,
            window.recent,
        ]
    return [
        sides.no_mask_words(studio, model, shape) if shape else "",
        gr.update(visible=own),
        HINT if own else OTHER_HINT,
        gr.skip() if said else not own,
        gr.skip() if said else longest,
        *rows,
        *_buttons(model, longest, context),
    ]


def _facts(studio: Studio, model: str) -> ModelFacts | None:
    """What is known of a model; None while it is read, or where the picker says why it can't be."""
    try:
        require_allowed(studio, model)
        return facts_of(model)
    except UserError:
        return None


def _shape(studio: Studio, model: str) -> tuple[int, int] | None:
    facts = _facts(studio, model)
    return (facts.layers, facts.kv_heads) if facts else None


def _context(studio: Studio, model: str, facts: ModelFacts | None) -> int | None:
    """Tokens that the model reads, or a visitor may have it read."""
    return reach.reach(studio, model, facts.context) if facts else None


def _fills(studio: Studio, model: str, longest: Any) -> list[Any]:
    facts = _facts(studio, model)
    return _buttons(model, _whole(longest), _context(studio, model, facts))


def _whole(longest: Any) -> int:
    return int(longest) if isinstance(longest, int | float) and longest > 0 else 1


def _buttons(model: str, longest: int, context: int | None) -> list[Any]:
    """The buttons by what they fill to, and why some can't be pressed."""
    if context is None:
        return [*[gr.update(value=f"{n:,}", interactive=False) for n in filler.LENGTHS], ""]
    lengths = [filler.fitting(n, longest, context) for n in filler.LENGTHS]
    said = [filler.why_not(n, longest, context) for n in filler.LENGTHS]
    note = next((f'<p class="note" data-reason="context">{why}.</p>' for why in said if why), "")
    if model == MODEL and max(lengths) + longest > (trained := reach.trained_on()):
        note += (
            f'<p class="note">Over {trained:,} tokens with the answer: {reach.BEYOND_WORDS}.</p>'
        )
    shown = zip(filler.LENGTHS, lengths, strict=True)
    return [*[gr.update(value=f"{fit or n:,}", interactive=fit > 0) for n, fit in shown], note]


def _filled(studio: Studio, model: str, longest: Any, length: int) -> list[Any]:
    with told():
        require_allowed(studio, model)
        facts = facts_of(model, patience=30)
        whole, context = _whole(longest), _context(studio, model, facts)
        if context is not None:
            if reason := filler.why_not(length, whole, context):
                raise UserError(f"{reason}: choose a shorter prompt or a shorter answer.")
            length = filler.fitting(length, whole, context)
        with studio.lease(model) as (_, tokenizer):
            count = filler.count_with(tokenizer)
            make = filler.puzzle if model == MODEL else filler.needle
            text = make(count, length, secrets.randbelow(2**31))
            tokens = count(text)
    return [text, _filled_note(model, tokens, whole, facts)]


def _filled_note(model: str, tokens: int, longest: int, facts: ModelFacts | None) -> str:
    said = [f"Filled to {tokens:,} tokens."]
    if model == MODEL:
        far = tokens + longest > reach.trained_on()
        said = [
            f"Filled to {tokens:,} tokens by repeating facts.",
            f"This is {reach.BEYOND_WORDS}." if far else reach.UNUSUAL_WORDS,
        ]
    if tokens > SLOW_ON_CPU and facts is not None and facts.device == "cpu":
        said.append("Reading so much takes minutes without a GPU; Stop ends it.")
    return f'<p class="note" data-filled="{tokens}">{" ".join(said)}</p>'
