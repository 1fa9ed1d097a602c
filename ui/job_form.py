"""The form of a new training: presets, the settings that matter first, the others by topic."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from rlkv.known_models import PAPERS
from rlkv.tasks import TASKS
from rlkv.training.config import PRESETS, TrainConfig, as_options
from ui.components.config_form import fields, read
from ui.components.header import html, section
from ui.components.memory_line import watch_memory
from ui.components.sandbox_line import watch_sandbox
from ui.events import FOLLOWS, QUIET
from ui.models.picker import choices as models_offered
from ui.models.picker import model_facts
from ui.studio import Studio

MAIN = ["model", "task", "steps", "penalty", "seed"]
GROUPS = {
    "Rollouts": [
        "prompts_per_step", "samples_per_prompt", "temperature", "top_p", "top_k",
        "max_new_tokens", "sink", "recent",
    ],
    "Gates and reward": [
        "learning_rate", "weight_decay", "adam_epsilon", "cutoff", "advantages",
    ],
    "From gates to a mask": [
        "hardening", "target_sparsity", "elimination", "hard_every", "deployed_sink",
        "deployed_recent",
    ],
    "Problems": ["problems", "pool", "strata", "eval_problems"],
    "Machine": [
        "rows_at_once", "rollout_rows", "device", "dtype", "processes", "where", "flavor",
        "timeout", "save_every", "report_to",
    ],
}  # fmt: skip
NAMES = MAIN + [name for names in GROUPS.values() for name in names]
ABOUT = {
    "quick": "Minutes on two CPU cores with the embedded model.",
    "thorough": "More problems, samples and steps: an hour there, and for models on a GPU.",
    "paper": "The published constants: DeepScaleR, answers of 7,168 tokens, a large GPU for days. "
    f"Needs a model that solves mathematics, such as {PAPERS[0]}.",
}


@dataclass(frozen=True)
class JobForm:
    """The form's components; `values` are the fields in the order of `NAMES`."""

    preset: gr.Radio
    values: list[Any]
    command: gr.HTML
    memory: gr.HTML
    start: gr.Button
    note: gr.HTML


def job_form(studio: Studio) -> JobForm:
    """Builds the form inside the open layout."""
    section("New job")
    note = html(elem_id="origin")
    preset = gr.Radio(
        [(name.capitalize(), name) for name in PRESETS],
        value="quick",
        label="Preset",
        info=ABOUT["quick"],
        elem_id="preset",
    )
    choices = {"model": [ref for _, ref in models_offered(studio)], "task": list(TASKS)}
    with gr.Row(elem_classes="fields"):
        values = fields(TrainConfig, MAIN, choices=choices, prefix="train-")
    model_facts(studio, values[0], "train")
    watch_sandbox(values[MAIN.index("task")], "train")
    with gr.Accordion("More settings", open=False, elem_id="more"):
        for title, names in GROUPS.items():
            html(f'<h3 class="cap2">{escape(title)}</h3>')
            with gr.Row(elem_classes="fields"):
                values += fields(TrainConfig, names, prefix="train-")
    start = gr.Button(
        "Start", variant="primary", elem_id="start", interactive=studio.settings.may_train
    )
    memory = html(elem_id="memory")
    with gr.Accordion("As a command line", open=False):
        command = html(command_line({}), elem_id="command")
    return JobForm(preset, values, command, memory, start, note)


def wire_form(form: JobForm) -> None:
    """Presets fill the fields; the command line and the memory line follow them."""

    def chosen(preset: str, model: str, task: str) -> list[Any]:
        values = {"model": model, "task": task, **PRESETS[preset]}
        return [gr.update(info=ABOUT[preset]), *filled(values)]

    def changed(*given: Any) -> str:
        return command_line(read(TrainConfig, NAMES, given))

    form.preset.input(chosen, [form.preset, *form.values[:2]], [form.preset, *form.values], **QUIET)
    gr.on([v.change for v in form.values], changed, form.values, form.command, **FOLLOWS)
    watch_memory(NAMES, form.values, form.memory)


def filled(values: dict[str, Any]) -> list[Any]:
    """The form's fields: these values, and the defaults for the rest."""
    return [values.get(name, TrainConfig.model_fields[name].default) for name in NAMES]


def command_line(values: dict[str, Any]) -> str:
    """The same job by hand; only what differs from the defaults, beside the main settings."""
    chosen = {}
    for name in NAMES:
        default = TrainConfig.model_fields[name].default
        value = values.get(name, default)
        if name in MAIN or value != default:
            chosen[name] = value
    words = ["python", "-m", "rlkv", "train", *as_options(chosen)]
    return f'<div class="cli">{escape(shlex.join([*words, "--out", "my-mask"]))}</div>'
