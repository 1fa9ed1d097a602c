"""Masks on the Hub for a model, looked at before they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.hub.browsing import HubMask, browse, changed_on
from rlkv.hub.fetching import fetch, named
from rlkv.hub.names import require_repo
from rlkv.hub.reaching import within
from rlkv.known_models import KNOWN
from rlkv.mask_files.found import look
from ui.components.header import section
from ui.engine import MODEL
from ui.events import QUIET
from ui.library.importing import MOST_FILES, Pending, Waiting, event_data, preview
from ui.messages import told
from ui.sharing.account import is_shared, login_button, token_of
from ui.sharing.using import ON_THE_HUB
from ui.studio import Studio

PATIENCE_S = 30.0
"""A mask is some kilobytes in four files."""
LONGEST = 200
_PREVIEW = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-repo]');
  if (button) trigger('open', {repo: button.dataset.repo});
});
"""


def hub_panel(studio: Studio, app: gr.Blocks, pending: gr.State, imports: gr.HTML) -> None:
    """Adds the panel to the open layout and wires it.

    Args:
        app: the page's, which sets the model to the loaded one when it opens.
        pending: the page's masks that wait to be kept; what is looked at here joins them.
        imports: where those are shown, with Keep and Discard.
    """
    with gr.Column(elem_classes="card flush", elem_id="hub"):
        section(
            "On the Hub",
            "Masks that others have pushed, by the model they were learned on. Looking at one "
            "keeps nothing.",
        )
        with gr.Row(equal_height=False, elem_classes="finding"):
            model = gr.Dropdown(
                [one.ref for one in KNOWN], value=MODEL, show_label=False, container=False,
                label="Model of the masks on the Hub",
                allow_custom_value=True, interactive=True, scale=3, min_width=220,
                elem_id="hub-model",
            )  # fmt: skip
            words = gr.Textbox(
                placeholder="Words in the name", show_label=False, container=False, scale=2,
                label="Words in the name",
                min_width=160, max_length=LONGEST, elem_id="hub-words",
            )  # fmt: skip
            look_up = gr.Button("Look on the Hub", scale=1, min_width=150, elem_id="hub-look")
            login_button()
        found = gr.HTML("", js_on_load=_PREVIEW, apply_default_css=False, elem_id="hub-found")
    _wire(studio, (model, words, look_up, found), pending, imports)
    app.load(lambda: loaded_model(studio), None, model, **QUIET)


def loaded_model(studio: Studio) -> str:
    """The model in memory that was asked for last; the embedded one where there is no other."""
    loaded = [ref for ref in studio.engines.in_memory() if studio.settings.allows(ref)]
    return loaded[-1] if loaded else MODEL


def _wire(
    studio: Studio,
    parts: tuple[gr.Dropdown, gr.Textbox, gr.Button, gr.HTML],
    pending: gr.State,
    imports: gr.HTML,
) -> None:
    model, words, look_up, found = parts

    def listed(model: str, words: str, signed_in: gr.OAuthToken | None) -> str:
        return _listed(studio, model, words, token_of(studio, signed_in))

    def opened(event: gr.EventData, waiting: Pending, signed_in: gr.OAuthToken | None) -> list[Any]:
        with told():
            repo = str(event_data(event).get("repo", ""))[:LONGEST]
            waiting = with_repo(studio, waiting, repo, signed_in)
        return [waiting, preview(studio, waiting)]

    gr.on([look_up.click, words.submit], listed, [model, words], found, **ON_THE_HUB)
    found.open(opened, pending, [pending, imports], **ON_THE_HUB).success(
        None, None, None, api_visibility="private",
        js="() => document.querySelector('#imports').scrollIntoView({block: 'nearest'})",
    )  # fmt: skip


def _listed(studio: Studio, model: Any, words: Any, token: str | None) -> str:
    """HTML of what there is; why there is nothing, where the Hub can't be asked."""
    ref = str(model or "").strip()[:LONGEST] or MODEL
    try:
        found = browse(ref, token=token, search=str(words or ""))
    except UserError as error:
        return f'<p class="warn" role="status">{escape(str(error))}</p>'
    if not found:
        return (
            '<p class="note" role="status">The Hub has no head mask for '
            f"{escape(ref)} under these words yet. Push one from the Heads page.</p>"
        )
    return f'<ul class="hub-list" role="status">{"".join(map(_entry, found))}</ul>'


def _entry(mask: HubMask) -> str:
    facts = [changed_on(mask), f"{mask.downloads} downloads", f"{mask.likes} likes"]
    if mask.private:
        facts.insert(0, "private")
    repo = escape(mask.repo, quote=True)
    return (
        f"<li><span><b>{repo}</b><small>{escape(' · '.join(filter(None, facts)))}</small></span>"
        f'<button type="button" data-repo="{repo}">Look at it</button></li>'
    )


def with_repo(
    studio: Studio, waiting: Sequence[Waiting], repo: str, signed_in: gr.OAuthToken | None
) -> Pending:
    """What waits, and the mask of a repository behind it, as whoever asks may see it.

    Raises:
        UserError: if it can't be fetched, or too much waits.
    """
    name = require_repo(repo)
    if len(waiting) >= MOST_FILES:
        raise UserError("Keep or discard what waits first.")
    token, guest = token_of(studio, signed_in), is_shared(studio)
    try:
        folder = within(PATIENCE_S, lambda: fetch(name, token=token, for_guest=guest))
    except TimeoutError:
        raise UserError(f"'{name}' was not here within {PATIENCE_S:g} s: try again.") from None
    number = max((one.number for one in waiting), default=0) + 1
    label = f"{name} at {folder.name[:8]}"
    try:
        found = look(folder)
    except UserError as error:
        return (*waiting, Waiting(number, label, None, str(error)))
    found = replace(found, mask=replace(found.mask, name=named(found.mask.name, folder, name)))
    return (*waiting, Waiting(number, label, found))
