"""What one KV head is and does at the current cut. Knows the mask, not where it came from."""

from __future__ import annotations

from dataclasses import dataclass

from rlkv.masks import HeadMask
from ui.units import bytes_text

Curve = list[tuple[int, float]]
"""(step, gate) over a training."""


@dataclass(frozen=True)
class HeadSize:
    """What a model's heads weigh: numbers a head, bytes a number, query heads a group."""

    head_dim: int
    itemsize: int
    group: int


def head_panel(
    mask: HeadMask,
    cell: tuple[int, int],
    size: HeadSize | None,
    curve: Curve,
    *,
    gate: float | None = None,
) -> str:
    """HTML of the panel; only numbers go in. `gate` is the trained one if it is not the score."""
    layer, head = cell
    kept = bool(mask.kept[cell])
    score = float(mask.scores[cell])
    trained = score if gate is None else gate
    rows = [
        ("Gate", f"{trained:.3f}"),
        *([("Score after elimination", f"{score:.3f}")] if abs(score - trained) > 5e-4 else []),
        ("Rank", f"{int(mask.ranks()[cell]) + 1} of {mask.kept.size}"),
        ("Reads", "the whole past" if kept else f"{mask.sink} first + {mask.recent} latest tokens"),
        *_weights(mask, head, kept, size),
    ]
    table = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    kind = (
        '<span class="kind kept">kept</span>'
        if kept
        else '<span class="kind cut">compressed</span>'
    )
    return (
        f'<div class="one" data-head="{layer}.{head}"><h2>Head {layer}.{head} {kind}</h2>'
        f'<p class="sub">{_place(mask, layer)}, KV head {head}</p><table>{table}</table>'
        f"{_history(curve)}</div>"
    )


def _place(mask: HeadMask, layer: int) -> str:
    """In a hybrid, row r of the mask is the r-th layer with full attention."""
    ids = mask.info.get("layer_ids")
    if not isinstance(ids, list) or len(ids) != mask.layers or not isinstance(ids[layer], int):
        return f"Layer {layer}"
    hybrid = ids != list(range(mask.layers))
    return f"Row {layer}, layer {ids[layer]} of the model" if hybrid else f"Layer {layer}"


def _weights(mask: HeadMask, head: int, kept: bool, size: HeadSize | None) -> list[tuple[str, str]]:
    if size is None:
        return [("KV memory", "unknown for this model")]
    first = head * size.group
    group = ", ".join(str(q) for q in range(first, first + size.group))
    per_token = 2 * size.head_dim * size.itemsize
    tokens = 1000 if kept else min(1000, mask.sink + mask.recent)
    return [
        ("Query heads in its group", group),
        ("KV memory at 1,000 tokens", bytes_text(per_token * tokens)),
        (
            "&hellip; if it were " + ("compressed" if kept else "kept"),
            _other(per_token, kept, mask),
        ),
    ]


def _other(per_token: int, kept: bool, mask: HeadMask) -> str:
    return bytes_text(per_token * (min(1000, mask.sink + mask.recent) if kept else 1000))


def _history(curve: Curve) -> str:
    """The gate over the training, as a small picture; nothing without a training."""
    if len(curve) < 2:
        return ""
    first, last = curve[0][0], curve[-1][0]
    points = " ".join(
        f"{4 + 292 * (step - first) / (last - first):.1f},{76 - 68 * min(max(gate, 0), 1):.1f}"
        for step, gate in [*curve[:: max(1, len(curve) // 150)], curve[-1]]
    )
    return (
        f'<p class="cap">Gate over the training, steps {first} to {last}</p>'
        '<svg viewBox="0 0 300 84" preserveAspectRatio="none" role="img" '
        f'aria-label="Gate from {curve[0][1]:.2f} to {curve[-1][1]:.2f}">'
        '<g stroke="var(--rule)" vector-effect="non-scaling-stroke"><path d="M4 8H296M4 76H296"/>'
        '<path d="M4 42H296" stroke-dasharray="3 4"/></g>'
        f'<polyline points="{points}" fill="none" stroke="var(--ink)" stroke-width="2" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )
