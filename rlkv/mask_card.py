"""The card that travels with a mask: README.md with front matter as the Hub reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from rlkv.mask_files.limits import PICTURE
from rlkv.mask_files.parsed import MAX_MODEL, MAX_NAME, one_line
from rlkv.mask_metrics import CLAIMED, figure, is_claimed
from rlkv.masks import HeadMask
from rlkv.snippets import cli_snippet, python_snippet

TAGS = ("rlkv", "kv-cache", "head-mask", "attention-heads")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$])")
METRICS = {
    "accuracy_full": "Accuracy with the full cache",
    "accuracy_at_50": "Accuracy at 50 % sparsity",
    "accuracy_at_target": "Accuracy at the target sparsity",
}


def card(mask: HeadMask, *, source: str = "") -> str:
    """Markdown: front matter, the heat map, what the mask is, its results, how to use it.

    `source` is what the snippet loads: a Hub repository or a path; default: the folder itself.
    """
    mask = replace(mask, model=one_line(mask.model, MAX_MODEL), name=one_line(mask.name, MAX_NAME))
    base = f"base_model: {mask.model}\n" if _REPO.fullmatch(mask.model) else ""
    tags = ", ".join(TAGS)
    model = _text(mask.model) or "a language model"
    parts = [
        f"---\n{base}library_name: rlkv\ntags: [{tags}]\n---\n",
        f"# {_text(mask.name) or f'Head mask for {model}'}\n",
        f"{mask.n_kept} of {mask.kept.size} KV heads keep the full KV cache; the others keep "
        f"{mask.sink} sink and {mask.recent} recent tokens.\n",
        f"![Gate of every KV head]({PICTURE})\n",
        _facts(mask),
        _results(mask),
        _use(mask, source),
    ]
    return "\n".join(part for part in parts if part)


def _facts(mask: HeadMask) -> str:
    rows = [
        ("Model", _text(mask.model)),
        ("Revision", _text(mask.revision)),
        ("Layers x KV heads", f"{mask.layers} x {mask.kv_heads}"),
        ("Sparsity (share of KV heads compressed)", f"{100 * mask.sparsity:.1f} %"),
        ("Window", f"{mask.sink} sink and {mask.recent} recent tokens"),
        ("Task", _text(mask.info.get("task", ""))),
        ("Seed", _text(mask.info.get("seed", ""))),
    ]
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows if value)
    return f"| | |\n|---|---|\n{lines}\n"


def _results(mask: HeadMask) -> str:
    found = {title: figure(mask, name) for name, title in METRICS.items()}
    lines = [
        f"| {title} | {100 * value:.1f} % |" for title, value in found.items() if value is not None
    ]
    if not lines:
        return ""
    metrics = mask.info.get("metrics")
    number = metrics.get("n") if isinstance(metrics, Mapping) else None
    over = f" Over {number} problems." if isinstance(number, int) else ""
    table = "\n".join(lines)
    claimed = is_claimed(mask.info)
    said = f"{CLAIMED.capitalize() if claimed else 'As measured at the end of its training'}.{over}"
    return f"## Results\n\n{said}\n\n| | |\n|---|---|\n{table}\n"


def _use(mask: HeadMask, source: str) -> str:
    where = source or "."
    return (
        f"## Use\n\n```python\n{python_snippet(mask, where)}```\n\n"
        f"```bash\n{cli_snippet(mask, where)}```\n"
    )


def _text(value: object) -> str:
    """One line that no Markdown or HTML hides in."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return _MARKUP.sub(r"\\\1", one_line(value, 200)).replace("\\<", "&lt;").replace("\\&", "&amp;")
