"""The source that a Hugging Face Job runs: our packages as one archive, named by its content."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("rlkv", "storage", "examples/models/tracer", "pyproject.toml")
NOT_NEEDED = {"gradio", "plotly", "pytest", "segno"}
"""Requirements of the app and the tests; a training does without."""


def archive() -> tuple[str, bytes]:
    """File name and gzipped tar; the same source gives the same bytes."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in files():
            _add(tar, path.relative_to(ROOT).as_posix(), path.read_bytes())
        _add(tar, "requirements.txt", requirements().encode())
    data = buffer.getvalue()
    return f"source-{hashlib.sha256(data).hexdigest()[:16]}.tar.gz", data


def files() -> list[Path]:
    """All files that travel, in order; nothing of the user's."""
    found = []
    for part in PARTS:
        path = ROOT / part
        found += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sorted(p for p in found if "__pycache__" not in p.parts)


def requirements() -> str:
    """The requirements of a training."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = [re.split(r"[<>=!~ \[]", line)[0] for line in lines]
    kept = [line for line, name in zip(lines, names, strict=True) if name not in NOT_NEEDED]
    return "\n".join(kept) + "\n"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
