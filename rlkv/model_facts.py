"""What a person wants to know of a model before it is loaded: size, gates, memory, where it is."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub.constants import HF_HUB_CACHE

from rlkv.errors import UserError, first_line
from rlkv.headroom import Headroom, gigabytes
from rlkv.hub import require_reachable
from rlkv.known_models import KnownModel, known
from rlkv.local_path import local_path
from rlkv.models import EMBEDDED, default_device, default_dtype, max_length, read_config
from rlkv.weights import bytes_to_fetch, count_parameters, loading_bytes, weights_in_cache

Place = Literal["embedded", "random", "folder", "file", "cache", "hub"]
"""Where the weights are: `cache` is the Hub's on this machine, `hub` is not here yet."""


@dataclass(frozen=True)
class ModelFacts:
    """A model on this machine, by its configuration alone."""

    ref: str
    parameters: int
    layers: int
    """Layers with gates."""
    kv_heads: int
    head_dim: int
    context: int
    """Tokens that it reads at most."""
    place: Place
    download: int
    """Bytes that have to be fetched first."""
    obstacle: str
    """What keeps it from being fetched, "" if nothing does."""
    device: str
    dtype: str
    weights: int
    """Bytes of memory, in the number format of the device."""
    loading: int
    """Bytes beyond the weights while they are read."""

    @property
    def gates(self) -> int:
        return self.layers * self.kv_heads

    @property
    def need(self) -> int:
        """Bytes that must be free to load it."""
        return self.weights + self.loading

    def kv_bytes(self, tokens: int) -> int:
        """Bytes of a full cache of so many tokens, by the formula; layers with a window of their
        own aside."""
        return 2 * self.head_dim * (self.weights // self.parameters) * self.gates * tokens

    def fits(self, headroom: Headroom | None = None) -> bool:
        """Whether it can be loaded into what is free now, a reserve left alone."""
        return not self.shortage(headroom)

    def shortage(self, headroom: Headroom | None = None) -> str:
        """Why it does not fit, with the figures and what to do; "" if it does."""
        if self.place == "embedded":
            return ""
        headroom = headroom or Headroom(self.device)
        if not headroom.short(self.need):
            return ""
        where = "GPU memory" if self.device.startswith("cuda") else "memory"
        takes = (
            f"Loading it takes {gigabytes(self.need)} of {where}, {gigabytes(self.weights)} of "
            f"that for weights in {self.dtype}"
        )
        if self.need > headroom.total - headroom.reserve:
            return (
                f"{takes}, and this machine has {gigabytes(headroom.total)} in all: choose a "
                "smaller model, or a machine with more."
            )
        left = max(headroom.free() - headroom.reserve, 0)
        return (
            f"{takes}, and {gigabytes(left)} is free: unload another model, close other "
            "programs, or choose a smaller model."
        )


def read_facts(ref: str) -> ModelFacts:
    """The facts of a model; may ask the Hub for sizes, reads no weights.

    Raises:
        UserError: if there is no such model or it can't be served, saying why.
    """
    place = place_of(ref)
    entry = known(ref)
    shape = _written(entry) if entry else _read(ref, _changed(ref))
    device = default_device()
    dtype = default_dtype(device)
    weights = shape[0] * dtype.itemsize
    download, obstacle = _way_here(ref, entry) if place == "hub" else (0, "")
    return ModelFacts(
        ref, *shape, place, download, obstacle, device, str(dtype).removeprefix("torch."),
        weights, loading_bytes(ref, weights),
    )  # fmt: skip


def place_of(ref: str) -> Place:
    """Where a model's weights are; looks at this machine only."""
    if ref == EMBEDDED:
        return "embedded"
    if ref.startswith("random:"):
        return "random"
    if path := local_path(ref):
        return "folder" if path.is_dir() else "file"
    return "cache" if weights_in_cache(ref) else "hub"


def require_loadable(facts: ModelFacts, headroom: Headroom | None = None) -> None:
    """Refuses a model that can't be fetched or does not fit, before any weight is read.

    Raises:
        UserError: with the figures and what to do.
    """
    if facts.obstacle:
        raise UserError(facts.obstacle)
    if facts.download and facts.download > (free := _free_on_disk()):
        raise UserError(
            f"'{facts.ref}' is a download of {gigabytes(facts.download)}, and the disk has "
            f"{gigabytes(free)} free: make room on it, or point HF_HOME to another disk."
        )
    require_room(facts, headroom)


def require_room(facts: ModelFacts, headroom: Headroom | None = None) -> None:
    """Raises UserError if a model that is here does not fit into memory."""
    if words := facts.shortage(headroom):
        raise UserError(f"'{facts.ref}' does not fit. {words}")


def _written(entry: KnownModel) -> tuple[int, int, int, int, int]:
    return entry.parameters, entry.layers, entry.kv_heads, entry.head_dim, entry.context


@functools.lru_cache(maxsize=64)
def _read(ref: str, _changed: int) -> tuple[int, int, int, int, int]:
    config, layout = read_config(ref)
    head_dim = layout.layers[layout.gated[0]].head_dim
    return count_parameters(config), *layout.shape, head_dim, max_length(config)


def _changed(ref: str) -> int:
    """When a file or a folder's configuration was written: reading a GGUF file takes seconds."""
    path = local_path(ref)
    path = path / "config.json" if path and path.is_dir() else path
    return path.stat().st_mtime_ns if path and path.exists() else 0


def _way_here(ref: str, entry: KnownModel | None) -> tuple[int, str]:
    """Bytes to fetch, and what is in the way."""
    size = entry.download if entry else 0
    try:
        require_reachable(f"The model '{ref}'")
    except UserError as error:
        return size, str(error)
    try:
        return bytes_to_fetch(ref), ""
    except Exception as error:  # the Hub's client has no class for all of its own
        return size, f"'{ref}' can't be fetched: {first_line(error)}"


def _free_on_disk() -> int:
    folder = Path(HF_HUB_CACHE)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
