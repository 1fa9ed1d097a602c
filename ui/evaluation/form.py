"""The form of a new evaluation."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.evaluation.cells import how_many
from rlkv.evaluation.config import (
    DEFAULT_METHODS,
    SPARSITIES,
    EvalConfig,
    MaskEntry,
    make_eval_config,
)
from rlkv.evaluation.cuts import notes
from rlkv.evaluation.methods import METHODS
from rlkv.tasks import TASKS
from ui import catalogue
from ui.components.config_form import fields, read
from ui.components.header import html, section
from ui.components.sandbox_line import watch_sandbox
from ui.engine import MODEL
from ui.events import FOLLOWS, QUIET
from ui.mask_hint import mask_hint
from ui.models.picker import Picker, model_picker
from ui.studio import Studio

PLAIN = ["task", "problems", "top"]
MORE = [
    "seed", "samples", "temperature", "top_p", "max_new_tokens", "tolerance", "random_seeds",
    "probes", "duo_steps", "sink", "recent", "rows_at_once", "device", "dtype",
]  # fmt: skip
NAMES = [*PLAIN, *MORE]


@dataclass(frozen=True)
class EvalForm:
    """The form's components."""

    picker: Picker
    masks: gr.Dropdown
    methods: gr.CheckboxGroup
    sparsities: gr.Textbox
    values: list[Any]
    """In the order of `NAMES`."""
    size: gr.HTML
    start: gr.Button
    note: gr.HTML

    def given(self) -> list[Any]:
        """All that is read when Start is pressed, as `config_of` takes it."""
        return [self.picker.model, self.masks, self.methods, self.sparsities, *self.values]


def eval_form(studio: Studio, may_start: bool) -> EvalForm:
    """Builds the form inside the open layout."""
    section("New evaluation")
    note = html(elem_id="origin")
    picker = model_picker(studio, "eval", loads=False)
    masks = gr.Dropdown(
        mask_choices(studio, MODEL), value=first_mask(studio, MODEL), multiselect=True,
        label="Learned masks", max_choices=8, interactive=True, elem_id="eval-masks",
    )  # fmt: skip
    methods = gr.CheckboxGroup(
        [(one.title, one.key) for one in METHODS.values()], value=list(DEFAULT_METHODS),
        label="Compared", info="All at the same number of heads, or the same bytes",
        elem_id="eval-methods", elem_classes="chips",
    )  # fmt: skip
    sparsities = gr.Textbox(
        ", ".join(f"{s:g}" for s in SPARSITIES), label="Sparsities", elem_id="eval-sparsities",
        info="Shares of KV heads to compress",
    )  # fmt: skip
    with gr.Row(elem_classes="fields"):
        values = fields(EvalConfig, PLAIN, choices={"task": list(TASKS)}, prefix="eval-")
    watch_sandbox(values[PLAIN.index("task")], "eval")
    with gr.Accordion("More settings", open=False, elem_id="more"), gr.Row(elem_classes="fields"):
        values += fields(EvalConfig, MORE, prefix="eval-")
    start = gr.Button("Start", variant="primary", elem_id="start", interactive=may_start)
    size = html(elem_id="size")
    return EvalForm(picker, masks, methods, sparsities, values, size, start, note)


def wire_form(studio: Studio, app: gr.Blocks, form: EvalForm) -> None:
    """Masks follow the model; the line under Start follows everything."""

    wanted = gr.State("")

    def opened(request: gr.Request) -> list[Any]:
        """The mask that the address names, or holds, with the model that it was learned on."""
        key = str(request.query_params.get("mask") or "")
        entry = catalogue.find(studio, key) if key else None
        if entry is None or entry.key != key:
            return [gr.skip()] * 3
        own = entry.mask.model
        ref = own if own and studio.settings.allows(own) else MODEL
        return [key, ref, _masks(studio, ref, key)]

    def model_changed(model: Any, key: str, masks: Any) -> Any:
        return for_model(studio, str(model or MODEL), key, masks)

    def changed(*given: Any) -> str:
        return size_line(studio, given)

    app.load(opened, None, [wanted, form.picker.model, form.masks], **QUIET)
    chosen = [form.picker.model, wanted, form.masks]
    # Unchecked: of two changes soon one after another the second still names masks of the model
    # before the first, which are no choices any more.
    gr.on(
        [form.picker.model.change], model_changed, chosen, form.masks, preprocess=False, **FOLLOWS
    )
    given = form.given()
    gr.on([app.load, *(one.change for one in given)], changed, given, form.size, **FOLLOWS)


def mask_choices(studio: Studio, model: str, wanted: str = "") -> list[tuple[str, str]]:
    """Masks that were learned on this model; the one of the link `wanted` too, if it fits."""
    return catalogue.choices(studio, model=model, also=wanted)


def first_mask(studio: Studio, model: str) -> list[str]:
    """What is chosen at first: the shipped or the newest mask."""
    options = mask_choices(studio, model)
    return [options[0][1]] if options else []


def _masks(studio: Studio, model: str, wanted: str) -> Any:
    """The chooser for a model, with the mask that is wanted if it is one of its masks."""
    options = mask_choices(studio, model, wanted)
    chosen = [wanted] if wanted in {key for _, key in options} else first_mask(studio, model)
    return gr.update(choices=options, value=chosen)


def for_model(studio: Studio, model: str, wanted: str, chosen: Any) -> Any:
    """The chooser after another model was chosen: masks that are chosen already stay if they were
    learned on it, such as those of a cloned job."""
    options = mask_choices(studio, model, wanted)
    known = {key for _, key in options}
    stay = [key for key in chosen or [] if key in known]
    return gr.update(choices=options, value=stay) if stay else _masks(studio, model, wanted)


def config_of(studio: Studio, given: Sequence[Any]) -> EvalConfig:
    """What the form says.

    Raises:
        UserError: naming the field that can't be used.
    """
    model, masks, methods, sparsities, *values = given
    entries = []
    for key in masks or []:
        entry = catalogue.find(studio, str(key))
        if entry is None or entry.key != key:
            raise UserError("One of the masks is gone: choose again.")
        entries.append(MaskEntry.of(entry.mask, key=entry.key))
    return make_eval_config(
        {
            **read(EvalConfig, NAMES, tuple(values)),
            "model": str(model or MODEL),
            "masks": entries,
            "methods": list(methods or []),
            "sparsities": str(sparsities or ""),
        }
    )


def size_line(studio: Studio, given: Sequence[Any]) -> str:
    """How many answers that will be, and the command line that asks for the same."""
    try:
        config = config_of(studio, given)
        points, told = how_many(config), list(notes(config))
    except UserError as error:
        return f'<p class="warn">{escape(str(error))}</p>'
    total = points * config.problems * config.draws
    hint = mask_hint(studio, [entry.key for entry in config.masks], config.model)
    return (
        f'{hint}<p class="note">{points} points, {total:,} answers.</p>{_notes(told)}'
        f'<details class="as-command"><summary>As a command line</summary>'
        f'<div class="cli">{escape(command_line(config))}</div></details>'
    )


def _notes(told: Sequence[str]) -> str:
    return "".join(f'<p class="note">{escape(one)}.</p>' for one in told)


def command_line(config: EvalConfig) -> str:
    """The same evaluation by hand; a mask of the database has to be saved to a folder first."""
    words = ["python", "-m", "rlkv", "sweep"]
    for entry in config.masks:
        words += ["--mask", entry.name.replace(" ", "-") if entry.key else entry.name]
    defaults = EvalConfig.model_fields
    for name, value in config.model_dump().items():
        if name == "masks" or value == defaults[name].default:
            continue
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option)
        elif isinstance(value, tuple):
            words += [option, ",".join(map(str, value))]
        else:
            words += [option, str(value)]
    return shlex.join(words)


def filled(job_params: dict[str, Any], studio: Studio) -> list[Any]:
    """The form's fields with the settings of a job, as `EvalForm.given` lists them."""
    config = make_eval_config(dict(job_params))
    known = {key for _, key in mask_choices(studio, config.model)}
    masks = [entry.key for entry in config.masks if entry.key in known]
    values = config.model_dump()
    return [
        config.model,
        gr.update(choices=mask_choices(studio, config.model), value=masks),
        list(config.methods),
        ", ".join(f"{s:g}" for s in config.sparsities),
        *(values[name] for name in NAMES),
    ]
