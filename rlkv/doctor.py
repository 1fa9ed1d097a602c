"""`rlkv doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rlkv.errors import UserError

PORT = 7860
MIN_FREE_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Check:
    """One finding; `advice` is empty where nothing has to be done."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def examine() -> list[Check]:
    """Runs all checks, in the order a person would."""
    return [
        _guarded(name, check)
        for name, check in (
            ("python", _python),
            ("packages", _packages),
            ("device", _device),
            ("embedded model", _embedded),
            ("database", _database),
            ("disk", _disk),
            ("model cache", _model_cache),
            ("port", _port),
        )
    ]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except UserError as error:
        return Check(name, False, "not ready", str(error))


def _python() -> Check:
    detail = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Check("python", ok, detail, "" if ok else "Install Python 3.11 or newer.")


def _packages() -> Check:
    names = ("torch", "transformers", "trl", "gradio", "sqlalchemy")
    return Check("packages", True, ", ".join(f"{name} {version(name)}" for name in names))


def _device() -> Check:
    import torch

    from rlkv.models import default_device, default_dtype

    device = default_device()
    detail = f"{device}, {str(default_dtype(device)).removeprefix('torch.')}"
    if device == "cpu":
        detail += f", {torch.get_num_threads()} threads"
    return Check("device", True, detail)


def _embedded() -> Check:
    from rlkv.models import EMBEDDED, read_spec

    spec = read_spec(EMBEDDED)
    return Check("embedded model", True, f"{spec.layers} layers x {spec.kv_heads} KV heads")


def _database() -> Check:
    from rlkv.worker import check_database

    return Check("database", True, check_database())


def _disk() -> Check:
    free = shutil.disk_usage(Path.home()).free
    ok = free > MIN_FREE_BYTES
    return Check("disk", ok, f"{free / 1e9:.0f} GB free", "" if ok else "Free at least 2 GB.")


def _model_cache() -> Check:
    from huggingface_hub.constants import HF_HUB_CACHE

    offline = " (offline: RLKV_OFFLINE=1)" if os.environ.get("RLKV_OFFLINE") == "1" else ""
    return Check("model cache", True, f"{HF_HUB_CACHE}{offline}")


def _port() -> Check:
    with socket.socket() as probe:
        free = probe.connect_ex(("127.0.0.1", PORT)) != 0
    if free:
        return Check("port", True, f"{PORT} is free")
    advice = f"The app may be running already; else start it with --port {PORT + 1}."
    return Check("port", True, f"{PORT} is in use", advice)
