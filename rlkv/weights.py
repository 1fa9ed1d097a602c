"""A model's weights before they are read: how many numbers, what reading them takes, where they
are, and fetching them from the Hub so that it can be watched and stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from tqdm.auto import tqdm  # type: ignore[import-untyped]
from transformers import AutoModelForCausalLM, PreTrainedConfig

from rlkv.errors import UserError, first_line
from rlkv.hub.cached import cached_file
from rlkv.hub.names import split_revision
from rlkv.local_path import local_path
from rlkv.models import EMBEDDED

SAFETENSORS_LOADING = 0.25
GGUF_LOADING = 0.65
"""Peak while weights are read, over the weights they become: measured, docs/cluster.md."""
FETCHED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
LEFT_OUT = ["consolidated*", "original/*", "onnx/*"]
"""The same weights a second time, in the publisher's own layout."""


class Stopped(Exception):
    """A download was stopped on purpose."""


def count_parameters(config: PreTrainedConfig) -> int:
    """Numbers of a model's weights, shared ones once; takes no memory."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return int(sum(parameter.numel() for parameter in model.parameters()))


def loading_bytes(ref: str, weights: int) -> int:
    """Bytes beyond the weights that are needed while they are read."""
    return math.ceil((GGUF_LOADING if ref.endswith(".gguf") else SAFETENSORS_LOADING) * weights)


def config_on_disk(ref: str) -> bool:
    """Whether a model's configuration can be read without the network."""
    if ref == EMBEDDED or ref.startswith("random:") or local_path(ref):
        return True
    try:
        return cached_file(ref, "config.json") is not None
    except HFValidationError:
        return True  # no id at all: reading it says so at once


def weights_in_cache(ref: str) -> bool:
    """Whether all weights of a Hub model have been downloaded to this machine."""
    try:
        if cached_file(ref, "model.safetensors"):
            return True
        index = cached_file(ref, "model.safetensors.index.json")
        if index is None:
            return False
        shards = set(json.loads(Path(index).read_text())["weight_map"].values())
        return all(cached_file(ref, shard) for shard in shards)
    except (HFValidationError, OSError, ValueError, KeyError, AttributeError):
        return False


def bytes_to_fetch(ref: str) -> int:
    """Bytes of a Hub model that are not on this machine yet; asks the Hub.

    Raises:
        Exception: of any kind, if the Hub does not answer as it should.
    """
    repo, revision = split_revision(ref)
    planned: Any = snapshot_download(
        repo, revision=revision, allow_patterns=FETCHED, ignore_patterns=LEFT_OUT, dry_run=True,
        tqdm_class=_Silent,
    )  # fmt: skip
    return sum(file.file_size or 0 for file in planned if file.will_download)


def fetch(ref: str, watch: Callable[[int], None], stopped: Callable[[], bool]) -> None:
    """Downloads a Hub model's files into the cache; what was fetched before is kept.

    Args:
        watch: told the bytes fetched so far, about ten times a second.
        stopped: asked as often; True ends the download.

    Raises:
        Stopped: if it was stopped. What has arrived stays, and a later call goes on from there.
        UserError: if the Hub refuses, is gone, or the disk is full.
    """

    class Watched(_Silent):
        def update(self, n: float | None = 1) -> bool | None:
            if stopped():
                raise Stopped
            self.n += n or 0
            if self.counts_bytes:
                watch(int(self.n))
            return None

    repo, revision = split_revision(ref)
    try:
        snapshot_download(
            repo, revision=revision, allow_patterns=FETCHED, ignore_patterns=LEFT_OUT,
            tqdm_class=Watched,
        )  # fmt: skip
    except Stopped:
        raise
    except Exception as error:  # the client's and its native parts' have no class in common
        if stopped():
            raise Stopped from error
        raise UserError(f"'{ref}' can't be downloaded: {first_line(error)}") from error
    if stopped():
        raise Stopped


class _Silent(tqdm):
    """A progress bar that shows nothing; it starts no thread of its own."""

    monitor_interval = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})
        self.counts_bytes = options.get("unit") == "B"
        self.n, self.total = options.get("initial") or 0, options.get("total")

    def refresh(self, *args: Any, **options: Any) -> bool:
        return False
