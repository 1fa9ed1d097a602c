"""What the endpoints answer: plain JSON, field by field. `docs/api.md` is made of these."""

from __future__ import annotations

from typing import Any, TypedDict


class MaskLine(TypedDict):
    """A mask as a list shows it."""

    key: str
    """What the other endpoints call it."""
    name: str
    model: str
    layers: int
    """Layers with gates."""
    kv_heads: int
    """KV heads of a layer."""
    kept: int
    """KV heads that keep the full cache."""
    sparsity: float
    """Share of KV heads compressed."""
    sink: int
    """First tokens that compressed heads keep."""
    recent: int
    """Latest tokens that compressed heads keep."""
    task: str
    seed: int | None
    accuracy_at_50: float | None
    """Share of unseen problems right with half of the heads compressed, where that was measured of
    this very mask and not of one that it was edited from."""
    accuracy_claimed: bool
    """Whether that figure is the word of an imported file."""
    shipped: bool
    job: str | None
    """The job that learned it."""


class MaskWhole(MaskLine):
    """A mask with all its numbers."""

    scores: list[list[float]]
    """`[layers][kv_heads]`, 0 to 1; higher means more needed."""
    kept_heads: list[list[bool]]
    """`[layers][kv_heads]`; true keeps the full cache."""
    link: str
    """Kept heads and window as a short text; it stands for the mask wherever a key does."""
    python: str
    """A program that uses it."""
    info: dict[str, Any]
    """Provenance: recipe, metrics, notes."""


class Memory(TypedDict):
    """What a model and its KV cache take."""

    model: str
    parameters: int
    dtype: str
    device: str
    weights_bytes: int
    loading_bytes: int
    """Beyond the weights, while they are read."""
    download_bytes: int
    """To be fetched first; 0 for what is on this machine."""
    context: int
    """Tokens that the model reads at most."""
    fits: bool
    """Whether it can be loaded into what is free now."""
    obstacle: str
    """Why it can't be loaded; "" if it can."""
    kv_bytes_full: int
    """Keys and values of all rows with the full cache; by the formula."""
    kv_bytes_compressed: int | None
    """The same under the mask; null without one."""
    kv_saved: float | None
    """Share of KV bytes saved under the mask. Not the sparsity, which is a share of heads."""
    sparsity: float | None
    """Share of KV heads compressed."""


class Side(TypedDict):
    """One side's answer so far."""

    side: str
    """`full` or `compressed`."""
    text: str
    tokens: int
    prompt_tokens: int
    kv_bytes: int
    """Measured bytes of keys and values held now."""
    tokens_per_second: float
    stop: str | None
    """null while it writes, else `end`, `length`, `repetition`, `stopped` or `memory`."""
    agrees: int | None
    """Tokens in common with the full side from the start; null for that side itself."""


class Answer(TypedDict):
    """A state of the answer; the last one has `done`."""

    model: str
    mask: str
    """Key or link of the mask."""
    sparsity: float | None
    done: bool
    sides: list[Side]


class JobLine(TypedDict):
    """A job as a list shows it."""

    id: str
    kind: str
    """`train` or `eval`."""
    state: str
    """queued, starting, running, stopping, interrupted, done, failed or cancelled."""
    title: str
    model: str
    step: int
    steps: int
    message: str
    created_at: float
    """Seconds since 1970, as the other times."""
    started_at: float | None
    ended_at: float | None


class JobWhole(JobLine):
    """A job with all that a script may wait for."""

    phase: str
    phase_done: int
    phase_total: int
    settings: dict[str, Any]
    """As it was started. The scores of masks that are measured are left out."""
    latest: dict[str, float]
    """The newest value of each metric."""
    masks: list[str]
    """Keys of the masks that it learned."""
    results: dict[str, Any] | None
    """An evaluation's table so far, with intervals; null for trainings."""
