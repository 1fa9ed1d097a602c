"""Python, packages, the device, the embedded model, and how well model-written code is held."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.version import Version

from rlkv.checks import Check

OLDEST_PYTHON = (3, 11)
LIBRARY = {"torch": "2.8", "transformers": "5.23", "numpy": "2.4", "safetensors": "0.8"}
APP = {"trl": "1.16", "sqlalchemy": "2.1", "gradio": "6.31", "datasets": "5.2", "segno": "1.6"}
"""Packages by the oldest version that works, as in pyproject.toml: what `import rlkv` needs, and
what jobs and pages need too."""
NVIDIA = Path("/proc/driver/nvidia/version")


def python(found: Sequence[int] = tuple(sys.version_info[:3])) -> Check:
    """The interpreter's version."""
    ok = tuple(found[:2]) >= OLDEST_PYTHON
    advice = "" if ok else "Install Python 3.11 or newer, then set the app up again with it."
    return Check("python", ok, ".".join(map(str, found)), advice)


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of packages that are installed, without importing them."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def packages(found: Mapping[str, str] | None = None) -> Check:
    """Whether all packages are there and new enough.

    Args:
        found: versions by name; those of this environment where it is None.
    """
    found = installed_versions([*LIBRARY, *APP]) if found is None else found
    wanted = LIBRARY | APP
    old = [n for n, v in found.items() if n in wanted and Version(v) < Version(wanted[n])]
    absent = [name for name in wanted if name not in found]
    detail = ", ".join(f"{name} {found[name]}" for name in wanted if name in found)
    if absent and not old and set(absent) <= set(APP):
        words = f"Only the library is installed. For jobs and pages: {_install(absent, wanted)}"
        return Check("packages", True, detail, words)
    if absent or old:
        return Check("packages", False, detail, _install([*absent, *old], wanted))
    return Check("packages", True, detail)


def _install(names: Sequence[str], wanted: Mapping[str, str]) -> str:
    return "pip install " + " ".join(f"'{name}>={wanted[name]}'" for name in names)


def device() -> Check:
    """What models run on."""
    import torch

    from rlkv.headroom import gigabytes, total_bytes
    from rlkv.models import default_device, default_dtype

    name = default_device()
    detail = f"{name}, {str(default_dtype(name)).removeprefix('torch.')}"
    detail += f", {gigabytes(total_bytes(name))} of memory"
    if name == "cpu":
        detail += f", {torch.get_num_threads()} threads"
    return Check("device", True, detail, _unused_gpu(name))


def _unused_gpu(name: str, driver: Path = NVIDIA) -> str:
    """What to do where there is an NVIDIA driver and models run on the CPU all the same."""
    if name == "cuda" or not driver.exists() or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return ""
    return (
        "This machine has an NVIDIA driver that torch does not use. Install a build of torch with "
        "CUDA: https://pytorch.org/get-started/locally"
    )


def embedded_model() -> Check:
    """Whether the model that ships with the project is there."""
    from rlkv.models import EMBEDDED, read_spec

    spec = read_spec(EMBEDDED)
    detail = f"{spec.layers} layers x {spec.kv_heads} KV heads"
    return Check("embedded model", True, detail)


def sandbox(level: int | None = None, allowed: bool | None = None) -> Check:
    """How well programs that a model writes are held here, and whether they are run at all."""
    from rlkv.tasks import sandbox as box

    level = box.level() if level is None else level
    on = os.environ.get(box.ALLOW_VARIABLE) == "1" if allowed is None else allowed
    detail = f"level {level}, {box.LEVELS[level]}; {'on' if on else 'off'}"
    if not on or level > 0:
        return Check("sandbox", True, detail)
    advice = (
        f"Programs that a model writes would see your files here: unset {box.ALLOW_VARIABLE}, or "
        "run the app on Linux with Landlock and seccomp (docs/tasks.md)."
    )
    return Check("sandbox", False, detail, advice)
