"""Runs one untrusted program: the process that `rlkv.tasks.sandbox` starts (`python -I -S`).

Reads a JSON request from stdin. A fork of this process gives up what it may do, layer by layer,
runs the program, evaluates the asked expressions and sends the values back through a pipe. This
process watches the clock and adopts every orphan, and before it ends nothing that the program
started is left. It knows no right answers, so there is none to be found here.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import platform
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

PRELOADED = (
    "array bisect calendar cmath collections copy dataclasses datetime decimal enum fractions "
    "functools heapq itertools json math numbers operator queue random re statistics string time "
    "typing"
)
"""Modules that a program may use; whether others can be read depends on the machine."""

DENIED = {
    "x86_64": (
        0xC000003E,
        # socket and its kin, clone, fork, exec, kill, sessions, ptrace, mounts, namespaces, keys,
        # bpf, io_uring, limits of others, shared memory that outlives its maker
        (41, 42, 44, 49, 50, 53, 56, 57, 58, 59, 62, 109, 112, 101, 155, 161, 165, 200, 234, 129,
         297, 272, 308, 298, 304, 310, 311, 312, 313, 175, 319, 321, 322, 323, 248, 249, 250, 425,
         426, 427, 424, 434, 435, 438, 302, 29, 64, 68, 240, 135),
    ),
    "aarch64": (
        0xC00000B7,
        (198, 199, 200, 201, 203, 206, 220, 221, 129, 130, 131, 138, 240, 154, 157, 117, 40, 41,
         51, 97, 268, 241, 265, 270, 271, 272, 273, 105, 279, 280, 281, 282, 217, 218, 219, 425,
         426, 427, 424, 434, 435, 438, 261, 186, 190, 194, 180, 92),
    ),
}  # fmt: skip
"""System calls that fail with "not permitted", by machine, after the machine's audit number."""

FIRST_UID = 2_000_000_000


def call(*arguments: Any) -> int:
    """A system call; raises OSError where it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = int(libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def control(option: int, value: int) -> None:
    """prctl."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def landlock() -> None:
    """Reading the standard library is all that is left of files, TCP and foreign processes."""
    abi = call(444, None, 0, 1)
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    scope = 3 if abi >= 6 else 0  # abstract sockets and signals
    attributes = (ctypes.c_uint64 * 3)(rights, 3, scope)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = call(444, ctypes.byref(attributes), size, 0)
    library = os.open(Path(os.__file__).parent, os.O_PATH)
    rule = (12).to_bytes(8, sys.byteorder) + library.to_bytes(4, sys.byteorder)
    call(445, ruleset, 1, ctypes.c_char_p(rule), 0)
    control(38, 1)
    call(446, ruleset, 0)
    os.close(library)
    os.close(ruleset)


def seccomp() -> None:
    """System calls that no pure computation needs are refused, new processes among them."""
    audit, numbers = DENIED[platform.machine()]

    def line(code: int, yes: int, no: int, value: int) -> bytes:
        return b"".join(
            part.to_bytes(size, sys.byteorder)
            for part, size in ((code, 2), (yes, 1), (no, 1), (value, 4))
        )

    count = len(numbers)
    program = [
        line(0x20, 0, 0, 4),  # the machine
        line(0x15, 1, 0, audit),
        line(0x06, 0, 0, 0x80000000),  # a foreign one: end the process
        line(0x20, 0, 0, 0),  # the call
        line(0x35, count + 1, 0, 0x40000000),  # x32
        *(line(0x15, count - i, 0, number) for i, number in enumerate(numbers)),
        line(0x06, 0, 0, 0x7FFF0000),  # allowed
        line(0x06, 0, 0, 0x00050001),  # EPERM
    ]

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))

    code = Filter(len(program), b"".join(program))
    control(38, 1)
    if ctypes.CDLL(None, use_errno=True).prctl(22, 2, ctypes.byref(code), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def own_user() -> None:
    """Root gives up being root: limits of processes do not hold for it."""
    if os.getuid() == 0:
        user = FIRST_UID + os.getpid()
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def limits(request: dict[str, Any]) -> None:
    """Time, memory, files, processes."""
    memory = int(request["memory_bytes"])
    for kind, value in (
        (resource.RLIMIT_CPU, int(request["cpu_seconds"])),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 2**20),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def no_processes() -> None:
    """No further process of this user."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def program(request: dict[str, Any], channel: int) -> None:
    """The fork: locks itself in, then runs the code. Never returns."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.dup2(channel, 3)
    os.closerange(4, 4096)
    for name in PRELOADED.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    applied = []
    limits(request)
    for layer in (landlock, no_processes, own_user, seccomp):
        if layer.__name__ in request["layers"]:
            with contextlib.suppress(OSError, AttributeError, KeyError, ValueError):
                layer()
                applied.append(layer.__name__)
    os.write(3, json.dumps(applied).encode() + b"\n")
    try:
        names: dict[str, Any] = {"__name__": "solution"}
        exec(compile(request["code"], "solution", "exec"), names)
        values = [encoded(eval(text, names)) for text in request["expressions"]]
        os.write(3, json.dumps(values).encode() + b"\n")
    finally:
        os._exit(0)


def encoded(value: Any) -> list[Any]:
    """A value as tagged JSON; `rlkv.tasks.sandbox.decoded` reads it."""
    if value is None or isinstance(value, bool | str):
        return ["v", value]
    if isinstance(value, int):
        return ["i", hex(value)]
    if isinstance(value, float):
        return ["f", repr(float(value))]
    if isinstance(value, complex):
        return ["c", repr(value.real), repr(value.imag)]
    if isinstance(value, bytes):
        return ["b", value.hex()]
    if isinstance(value, dict):
        return ["d", [[encoded(k), encoded(v)] for k, v in value.items()]]
    for tag, kind in (("l", list), ("t", tuple), ("s", (set, frozenset))):
        if isinstance(value, kind):
            return [tag, [encoded(item) for item in value]]
    return ["?", type(value).__name__]


def children() -> list[int]:
    """Processes whose parent is this one, orphans of its descendants included."""
    found = []
    for name in filter(str.isdigit, (path.name for path in Path("/proc").iterdir())):
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{name}/stat").read_bytes()
            if int(status.rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(int(name))
    return found


def end_all(child: int) -> None:
    """Ends everything that the program started; returns when nothing is left.

    Whatever loses its parent becomes ours (subreaper), so this goes on until there is no child.
    """
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    while True:
        for process in children() if sys.platform == "linux" else [child]:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(0.002)


def watch(channel: int, seconds: float, cap: int) -> bytes:
    """What the program sends, until it ends, or its time or its room is used up."""
    deadline = time.monotonic() + seconds
    text = b""
    while len(text) <= cap and text.count(b"\n") < 2:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([channel], [], [], left)[0]:
            break
        part = os.read(channel, 65536)
        if not part:
            break
        text += part
    return text if len(text) <= cap else b""


def main() -> None:
    """One request, one reply."""
    request = json.loads(sys.stdin.buffer.read())
    if sys.platform == "linux":
        control(36, 1)  # orphans become ours
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        try:
            program(request, sending)
        finally:
            os._exit(1)
    os.close(sending)
    try:
        text = watch(receiving, float(request["wall_seconds"]), int(request["output_bytes"]))
    finally:
        end_all(child)
    sys.stdout.buffer.write(text)


if __name__ == "__main__":
    main()
