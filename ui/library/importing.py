"""Files of others, looked at before they are kept. Knows no page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from rlkv.errors import UserError
from rlkv.mask_files import CARD, CONFIG, GATES, PAPER_TSV, PICTURE, TSV
from rlkv.mask_files.found import Found, look, look_together
from rlkv.mask_files.parsed import MAX_NAME, one_line
from rlkv.mask_metrics import CLAIMED, IMPORTED, figure, true_info
from rlkv.mask_picture import thumbnail
from rlkv.masks import HeadMask
from storage.errors import StorageError
from ui import catalogue
from ui.mask_hint import commit_here, in_use
from ui.studio import Studio
from ui.units import percent

MOST_FILES = 20
"""Looked at together."""


@dataclass(frozen=True)
class Waiting:
    """One file that was read: a mask to keep or discard, or why it is refused."""

    number: int
    file: str
    found: Found | None
    reason: str = ""


Pending = tuple[Waiting, ...]


def looked_at(paths: Sequence[str], before: Pending) -> Pending:
    """Reads files and puts them behind those that wait; refused ones of before go.

    Raises:
        UserError: if there are too many.
    """
    waiting = [one for one in before if one.found is not None]
    if len(paths) + len(waiting) > MOST_FILES:
        raise UserError(
            f"{MOST_FILES} files at once are enough: keep or discard those that wait first."
        )
    number = max((one.number for one in before), default=0)
    for group in together([Path(path) for path in paths]):
        number += 1
        file = one_line(" + ".join(path.name for path in group), MAX_NAME)
        try:
            found = look_together(group, group[0].stem) if len(group) > 1 else look(group[0])
            waiting.append(Waiting(number, file, found))
        except UserError as error:
            waiting.append(Waiting(number, file, None, str(error)))
    return tuple(waiting)


def together(paths: Sequence[Path]) -> list[list[Path]]:
    """Files of one upload, those of a mask's folder as one: its tables, then its config.json.

    By their names, since every upload lies in a folder of its own. Where a name comes twice nobody
    can tell what belongs to what, so each is looked at by itself.
    """
    tables = [path for name in (GATES, TSV, PAPER_TSV) for path in paths if path.name == name]
    config = [path for path in paths if path.name == CONFIG]
    names = [path.name for path in (*tables, *config)]
    if len(config) != 1 or not tables or len(set(names)) < len(names):
        return [[path] for path in paths]
    beside = {*names, CARD, PICTURE}
    return [[*tables, *config], *([path] for path in paths if path.name not in beside)]


def kept(
    studio: Studio, pending: Pending, number: object, model: object = ""
) -> tuple[Pending, str]:
    """Stores the mask of a number; -> what still waits, and the mask's key.

    `model` is what a person chose for a file that names none; only models of its shape count.

    Raises:
        UserError: if nothing of that number waits.
    """
    one = next((w for w in pending if w.number == number and w.found is not None), None)
    if one is None or one.found is None:
        raise UserError("That file is no longer waiting: load it again.")
    mask = one.found.mask
    if not mask.model and model in one.found.fits:
        mask = replace(mask, model=str(model))
    key = store(studio, mask, one.file, one.found.form)
    return tuple(w for w in pending if w is not one), key


def all_kept(studio: Studio, pending: Pending) -> tuple[Pending, str]:
    """Stores as many of the masks as can be; -> what still waits, and what was done, in words.

    Raises:
        UserError, StorageError: why not even the first can be stored.
    """
    numbers = [one.number for one in pending if one.found is not None]
    for done, number in enumerate(numbers):
        try:
            pending, _ = kept(studio, pending, number)
        except (UserError, StorageError) as error:
            if not done:
                raise
            return pending, f"Kept {done} of {len(numbers)} masks. {error}"
    return pending, f"Kept {len(numbers)} mask{'' if len(numbers) == 1 else 's'}."


def store(studio: Studio, mask: HeadMask, file: str, form: str) -> str:
    """Keeps an imported mask; -> its key."""
    info = {k: v for k, v in true_info(mask).items() if k not in (catalogue.MADE_FROM, "averaged")}
    info[IMPORTED] = {"file": file, "form": form}
    name = mask.name or one_line(Path(file).stem, MAX_NAME) or "Mask"
    return studio.keep_mask(replace(mask, name=name, info=info))


def revisions(studio: Studio) -> set[tuple[str, str]]:
    """(model, revision) of all masks here."""
    shipped = {(e.mask.model, e.mask.revision) for e in catalogue.shipped_masks().values()}
    return shipped | {(row.model, row.revision) for row in studio.masks.list()}


# --- the preview ----------------------------------------------------------------------------


def preview(studio: Studio, pending: Pending) -> str:
    """HTML of what waits: what each file holds, Keep and Discard."""
    if not pending:
        return ""
    known = revisions(studio)
    cards = "".join(_card(one, _warnings(studio, one, known)) for one in pending)
    good = sum(one.found is not None for one in pending)
    every = (
        f'<p class="every"><button type="button" data-do="keep-all">Keep all {good}</button></p>'
        if good > 1
        else ""
    )
    return f'<div class="imports" role="status">{cards}{every}</div>'


def found_facts(found: Found) -> str:
    """HTML of what a file holds, as a list of terms."""
    mask = found.mask
    cut = (
        "as the file says" if found.has_kept else "the best half, since the file names scores only"
    )
    fits = ", ".join(found.fits) or "no model that is known here by this shape"
    claimed = figure(mask, "accuracy_at_50")
    window = f"{mask.sink} first and {mask.recent} latest tokens"
    rows = [
        ("Form", found.form),
        ("Shape", f"{mask.layers} layers x {mask.kv_heads} KV heads"),
        ("Scores", f"{found.low:.4g} to {found.high:.4g}"),
        ("Clipped", f"{found.clipped} of {mask.scores.size}"),
        ("Kept", f"{mask.n_kept} of {mask.kept.size}, {cut}"),
        ("Ties at the cut", str(found.ties)),
        ("Window", window if found.has_window else f"{window}, the default"),
        ("Model", mask.model or "not named"),
        ("Fits", fits),
        ("At 50 %", "" if claimed is None else f"{percent(claimed)} right, {CLAIMED}"),
        ("Notes", "; ".join(_notes(mask))),
    ]
    cells = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows if text)
    return f'<dl class="found">{cells}</dl>'


def _notes(mask: HeadMask) -> list[str]:
    """The notes that the rows above do not say already."""
    notes = mask.info.get("notes")
    lines = [one_line(note, 160) for note in notes[:8]] if isinstance(notes, list) else []
    return [one for one in lines if not one.endswith(("were clipped", "are the best half"))]


def _warnings(studio: Studio, one: Waiting, known: Collection[tuple[str, str]]) -> list[str]:
    if one.found is None:
        return []
    commit = commit_here(studio, one.found.mask.model)
    return one.found.warnings(known, in_use(studio), commit)


def _card(one: Waiting, told: Collection[str]) -> str:
    name = f"<h3>{escape(one.file)}</h3>"
    if one.found is None:
        return (
            f'<article class="import refused" data-n="{one.number}">{name}'
            f'<p class="warn">{escape(one.reason)}</p>'
            f"{_button('discard', one.number, 'Close')}</article>"
        )
    found = one.found
    warnings = "".join(f"<li>{escape(words)}</li>" for words in told)
    return (
        f'<article class="import" data-n="{one.number}">'
        f'<div class="shown">{thumbnail(found.mask)}'
        f"<small>{percent(found.mask.sparsity)} sparsity</small></div>"
        f"<div>{name}{found_facts(found)}"
        f"{f'<ul class=warnings>{warnings}</ul>' if warnings else ''}{_models(found)}"
        f'<p class="does">{_button("keep", one.number, "Keep")}'
        f"{_button('discard', one.number, 'Discard')}</p></div></article>"
    )


def _models(found: Found) -> str:
    """A choice of the model, where the file names none."""
    if found.mask.model or not found.fits:
        return ""
    options = "".join(f'<option value="{escape(m)}">{escape(m)}</option>' for m in found.fits)
    return (
        '<label class="for">It is for <select data-model><option value="">I do not know</option>'
        f"{options}</select></label>"
    )


def _button(action: str, number: int, words: str) -> str:
    return f'<button type="button" data-do="{action}" data-n="{number}">{words}</button>'


def event_data(event: Any) -> dict[str, Any]:
    """What an event brought; any client can send anything."""
    data = getattr(event, "_data", None)
    return data if isinstance(data, dict) else {}
