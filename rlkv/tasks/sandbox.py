"""Running code that a model wrote, contained as well as this machine can.

Off unless `RLKV_ALLOW_CODE=1`. Levels:

- 0: limits of time, memory and files only (no Landlock or no seccomp, as outside Linux);
- 1, "basic": also no files but Python's own library, no network, no other processes, a user of
  its own where we are root (Landlock, seccomp);
- 2, "strong": the same inside `bwrap`, with namespaces of its own, where that is installed.

The program can't report success: it only sends values back, and what they should be is known
here alone. Not promised: safety from defects of the kernel, and at level 0 anything but an end
to the process in time.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlkv.errors import UserError

ALLOW_VARIABLE = "RLKV_ALLOW_CODE"
LAYERS = ("landlock", "no_processes", "own_user", "seccomp")
MAX_CODE = 50_000
"""Characters of a program."""
LEVELS = ("limits only", "basic", "strong")

PROGRAM = Path(__file__).with_name("sandbox_program.py")
PYTHON = str(getattr(sys, "_base_executable", None) or sys.executable)


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    cpu_seconds: int = 5
    wall_seconds: float = 8.0
    memory_bytes: int = 512 * 2**20
    output_bytes: int = 64 * 1024


@dataclass(frozen=True)
class Outcome:
    """What came back from a program."""

    layers: tuple[str, ...]
    """Layers of containment that held."""
    values: tuple[Any, ...] | None
    """Of the expressions, in order; None if the program did not get through all of them."""


class Opaque:
    """Stands for a value that is no plain data; equal to nothing."""

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return id(self)


def require_allowed() -> None:
    """Raises UserError unless code may be run here, saying what to do."""
    if os.environ.get(ALLOW_VARIABLE) != "1":
        raise UserError(
            "This task runs programs that the model writes, which is switched off. To allow it, "
            f"in a sandbox, set {ALLOW_VARIABLE}=1 and read docs/tasks.md first."
        )
    if not hasattr(os, "fork"):
        raise UserError("This task needs Linux or macOS to contain what the model writes.")
    if os.environ.get("SPACE_ID") and level() < 1:
        raise UserError(
            "This Space can't contain what the model writes (no Landlock or no seccomp), so the "
            "task stays off: choose another."
        )


@functools.cache
def level() -> int:
    """How well this machine contains a program; see the top of this file."""
    if _bwrap() and _run("", ["1"], Limits(), LAYERS, _bwrap()).values == (1,):
        return 2
    held = _run("", ["1"], Limits(), LAYERS, ()).layers
    return int("landlock" in held and "seccomp" in held)


def run_code(
    code: str,
    expressions: Sequence[str],
    *,
    limits: Limits | None = None,
    layers: Sequence[str] = LAYERS,
) -> Outcome:
    """Runs a program and returns the values of expressions in it. No process is left behind.

    Args:
        code: the program.
        expressions: evaluated in its namespace, after it ran.
        limits: what it may use.
        layers: what to contain it with besides the limits; fewer are for tests, and are then
            without bwrap too.
    """
    if len(code) > MAX_CODE:
        return Outcome((), None)
    strong = tuple(layers) == LAYERS and level() == 2
    return _run(code, expressions, limits or Limits(), layers, _bwrap() if strong else ())


def _run(
    code: str,
    expressions: Sequence[str],
    limits: Limits,
    layers: Sequence[str],
    prefix: Sequence[str],
) -> Outcome:
    request = {
        "code": code,
        "expressions": list(expressions),
        "layers": list(layers),
        **asdict(limits),
    }
    with tempfile.TemporaryDirectory(prefix="rlkv-sandbox-") as folder:
        process = subprocess.Popen(
            [*prefix, PYTHON, "-I", "-S", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        with process:
            try:
                text = json.dumps(request).encode()
                reply, _ = process.communicate(text, timeout=limits.wall_seconds + 20)
            except subprocess.TimeoutExpired:
                reply = b""
            finally:
                _end_group(process)
    return _outcome(reply, len(expressions))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _outcome(reply: bytes, n_values: int) -> Outcome:
    """Reads what came back; after the first line the program itself may have written it."""
    first, _, rest = reply.partition(b"\n")
    try:
        layers = tuple(json.loads(first))
    except ValueError:
        return Outcome((), None)
    try:
        values = tuple(decoded(value) for value in json.loads(rest))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError):
        return Outcome(layers, None)
    return Outcome(layers, values if len(values) == n_values else None)


def decoded(value: Any) -> Any:
    """Plain data from the tagged JSON of `sandbox_program.encoded`.

    Raises:
        ValueError, TypeError, KeyError, IndexError: if it is something else.
    """
    tag, content = value[0], value[1]
    if tag == "v" and (content is None or isinstance(content, bool | str)):
        return content
    if tag == "i":
        return int(content, 16)
    if tag == "f":
        return float(content)
    if tag == "c":
        return complex(float(content), float(value[2]))
    if tag == "b":
        return bytes.fromhex(content)
    if tag == "d":
        return {decoded(key): decoded(item) for key, item in content}
    if tag == "?":
        return Opaque()
    kind = {"l": list, "t": tuple, "s": set}[tag]
    return kind(decoded(item) for item in content)


@functools.cache
def _bwrap() -> tuple[str, ...]:
    """The command line of bubblewrap before ours; empty where it is not installed."""
    program = shutil.which("bwrap")
    if not program:
        return ()
    folders = {"/usr", "/lib", "/lib64", "/bin", sys.base_prefix, str(PROGRAM)}
    binds = [
        word
        for folder in sorted(folders)
        if Path(folder).exists()
        for word in ("--ro-bind", folder, folder)
    ]
    return (
        program, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
        "--uid", "65534", "--gid", "65534",
        "--tmpfs", "/tmp", *binds, "--proc", "/proc", "--dev", "/dev", "--chdir", "/tmp",
    )  # fmt: skip
