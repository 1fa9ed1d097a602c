"""What a model's program may not do, each layer of containment by itself, and MBPP on top.

Layers that this machine does not have are skipped, and said so.
"""

import ctypes
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rlkv.errors import UserError
from rlkv.tasks import get_task, sandbox
from rlkv.tasks.mbpp import program, read_problem
from rlkv.tasks.sandbox import LAYERS, Limits, run_code
from tests.rlkv.task_stage import add_row, write_datasets

SHORT = Limits(cpu_seconds=1, wall_seconds=1.5)


def kernel_can() -> bool:
    """Whether this kernel has Landlock and seccomp, asked without our own code."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return False
    landlock_version = ctypes.CDLL(None).syscall(444, None, 0, 1)
    return landlock_version >= 1 and "Seccomp:" in Path("/proc/self/status").read_text()


contained = pytest.mark.skipif(not kernel_can(), reason="no Landlock or no seccomp here")


def running() -> set[int]:
    """Processes of sandboxes, in whatever session or user: forks keep their command line."""
    every = psutil.process_iter(["cmdline"])
    return {p.pid for p in every if "sandbox_program" in " ".join(p.info["cmdline"] or [])}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No process that a test began outlives it."""
    before = running()
    yield
    end = time.monotonic() + 30  # those of tests that run beside this one end by themselves
    while running() - before and time.monotonic() < end:
        time.sleep(0.1)
    assert not running() - before


@pytest.fixture
def task_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKV_ALLOW_CODE", "1")
    monkeypatch.setenv("RLKV_DATASETS", str(write_datasets(tmp_path)))


def earned(body: str) -> float:
    """The reward of a program for `add(x) == x + 3` whose function begins with `body`."""
    problem = read_problem(add_row(3))
    assert problem is not None
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    text = f"```python\nimport os\ndef add(x):\n{lines}\n    return x + 3\n```"
    return get_task("mbpp").reward(text, problem)


def test_values_come_back_as_they_were() -> None:
    values: tuple[object, ...] = (3, -(10**60), 2.5, 1j, True, None, "é\ud800", b"\x00", (1, (2,)),
                                  [[]], {1, 2}, {"a": {1: (2, 3)}})  # fmt: skip
    assert run_code("", [ascii(value) for value in values]).values == values
    assert run_code("", ["float('inf')", "frozenset('a')"]).values == (float("inf"), {"a"})
    (counter, strange) = run_code(
        "import collections", ["collections.Counter('aab')", "object()"]
    ).values or ((), ())
    assert counter == {"a": 2, "b": 1}
    assert strange != strange  # plain data only


def test_programs_that_fail_give_nothing() -> None:
    for code in ("x = ", "raise SystemExit(0)", "import os; os._exit(0)", "1/0", "x" * 100_000):
        assert run_code(code, ["1"]).values is None
    assert run_code("", ["undefined"]).values is None
    assert run_code("def f(): return f()", ["f()"]).values is None


@pytest.mark.parametrize(
    "layers",
    [(), *(pytest.param((layer,), marks=pytest.mark.slow) for layer in LAYERS)],
    ids=lambda layers: "+".join(layers) or "none",
)
def test_limits_hold_without_further_layers(layers: tuple[str, ...]) -> None:
    def run(code: str) -> object:
        return run_code(code, ["1"], limits=SHORT, layers=layers).values

    start = time.monotonic()
    assert run("while True: pass") is None
    assert run("import time; time.sleep(60)") is None
    assert run("x = bytearray(10**9)") is None
    assert run("x = []\nwhile True: x.append(' ' * 10**7)") is None
    assert run("import os\nwhile True: os.write(3, b'x' * 10**5)") is None
    assert run("while True: print('x' * 10**5)") is None
    assert run("open('big', 'wb').write(bytes(2 * 2**20))") is None
    assert time.monotonic() - start < 15


FORKS = {
    "bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "orphan": "import os, time\nif not os.fork(): time.sleep(60)",
    "daemon": (
        "import os, time\n"
        "if not os.fork():\n    os.setsid()\n    if not os.fork():\n        time.sleep(60)\n"
        "    os._exit(0)"
    ),
    "deep": "import os\nfor i in range(200):\n    if os.fork(): break\n    os.setsid()",
}


@pytest.mark.parametrize("name", ["orphan", "daemon", "deep"])
def test_every_descendant_is_found_where_nothing_else_stops_it(name: str) -> None:
    """The reaper alone; the fixture looks that nothing is left."""
    outcome = run_code(FORKS[name], ["1"], limits=SHORT, layers=())
    assert outcome.layers == ()


@pytest.mark.parametrize("layer", ["seccomp", "no_processes"])
@pytest.mark.parametrize("name", list(FORKS))
def test_no_process_can_be_made(name: str, layer: str) -> None:
    layers = ("no_processes", "own_user") if layer == "no_processes" else (layer,)
    held = run_code("", ["1"], layers=layers).layers
    if set(held) != set(layers):
        pytest.skip(f"no {layer} here")
    code = "import os\ndef f():\n    try: os.fork()\n    except OSError: return 'refused'\n"
    assert run_code(code, ["f()"], layers=layers).values == ("refused",)
    assert run_code(FORKS[name], ["1"], limits=SHORT, layers=layers).values is None


def test_nothing_is_left_when_the_trainer_is_killed() -> None:
    code = (
        "from rlkv.tasks.sandbox import Limits, run_code\n"
        "print('begun', flush=True)\n"
        "run_code('while True: pass', ['1'], limits=Limits(wall_seconds=2.0))"
    )
    trainer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with trainer:
        assert trainer.stdout
        assert trainer.stdout.readline()
        deadline = time.monotonic() + 20
        while not (programs := running()) and time.monotonic() < deadline:
            time.sleep(0.01)
        trainer.kill()
    assert programs
    deadline = time.monotonic() + 20
    while running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running()


@contained
def test_the_level_is_known() -> None:
    assert sandbox.level() in (1, 2)
    assert run_code("", ["1"]).layers == LAYERS  # all of them hold
    assert sandbox.LEVELS[sandbox.level()] in ("basic", "strong")


@contained
@pytest.mark.usefixtures("task_allowed")
def test_a_harmless_program_earns() -> None:
    assert earned("import math, re, collections") == 1.0


ATTACKS = {
    "fork bomb": "while True: os.fork()",
    "memory": "y = bytearray(10**9)",
    "endless output": "while True: print('x' * 10000)",
    "endless result": "while True: os.write(3, b'1' * 10000)",
    "passwd": "open('/etc/passwd').read()",
    "passwd by number": "os.read(os.open('/etc/passwd', os.O_RDONLY), 10)",
    "our own files": "open('{here}').read()",
    "environment of the parent": "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "memory of the parent": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "token": "os.environ['HF_TOKEN']",
    "socket": "import _socket; _socket.socket().connect(('127.0.0.1', {port}))",
    "socket by number": (
        "import ctypes\nassert ctypes.CDLL(None).socket(2, 1, 0) >= 0"
    ),
    "ctypes": "import ctypes\nassert ctypes.CDLL(None).open(b'/etc/passwd', 0) >= 0",
    "crash by ctypes": "import ctypes\nctypes.string_at(0)",
    "write here": "open('x', 'w').write('x')",
    "write elsewhere": "open('/tmp/rlkv-escape', 'w').write('x')",
    "remove": "os.remove('{here}')",
    "folder": "os.listdir('/')",
    "orphan": "os.fork() or __import__('time').sleep(60)",
    "daemon": "os.fork() or (os.setsid(), os.fork() or __import__('time').sleep(60))",
    "program": "os.execv('/bin/sh', ['sh', '-c', 'true'])",
    "shell": "assert os.system('true') == 0",
    "kill the parent": "os.kill(os.getppid(), 9)",
    "kill everything": "os.kill(-1, 9)",
    "leave": "os._exit(0)",
    "leave politely": "raise SystemExit(0)",
    "root again": "os.setuid(0)",
}  # fmt: skip


@contained
@pytest.mark.usefixtures("task_allowed")
@pytest.mark.parametrize("attack", list(ATTACKS))
def test_attacks_earn_nothing(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if attack == "root again" and os.getuid() != 0:
        pytest.skip("not root here: there is nothing to get back")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        body = ATTACKS[attack].replace("{here}", str(Path(__file__)))
        assert earned(body.replace("{port}", str(server.getsockname()[1]))) == 0.0
    assert not Path("/tmp/rlkv-escape").exists()
    assert Path(__file__).exists()


CHEATS = {
    "prints success": "def add(x):\n    print('ok', 'passed', 'True')",
    "equals everything": (
        "class Same(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def add(x): return Same(-77)"
    ),
    "an object equal to everything": (
        "class Same:\n    def __eq__(self, other): return True\ndef add(x): return Same()"
    ),
    "no assertions": "import builtins\nbuiltins.eval = lambda *a: True\ndef add(x): return True",
    "forged reply": (
        'import os\nos.write(3, b\'[["v", true], ["v", true], ["v", true]]\\n\')\n'
        "os._exit(0)\ndef add(x): pass"
    ),
    "odd reply": "import os\nos.write(3, b'[' * 60000 + b'\\n')\nos._exit(0)\ndef add(x): pass",
    "looks the answer up": (
        "import gc\nhidden = [o for o in gc.get_objects() if isinstance(o, list | dict)"
        " and 'expected' in o]\ndef add(x): return hidden[0]"
    ),
    "knows the shown test only": "def add(x):\n    return 4 if x == 1 else 0",
}


@pytest.mark.usefixtures("task_allowed")
@pytest.mark.parametrize("cheat", list(CHEATS))
def test_success_cannot_be_faked(cheat: str) -> None:
    problem = read_problem(add_row(3))
    assert problem is not None
    text = f"```python\n{CHEATS[cheat]}\n```"
    assert program(text, "add")
    assert get_task("mbpp").reward(text, problem) == 0.0


def test_off_unless_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLKV_ALLOW_CODE", raising=False)
    with pytest.raises(UserError, match="set RLKV_ALLOW_CODE=1"):
        get_task("mbpp")
    monkeypatch.setenv("RLKV_ALLOW_CODE", "1")
    task = get_task("mbpp")
    problem = read_problem(add_row(3))
    assert problem is not None
    monkeypatch.setenv("RLKV_ALLOW_CODE", "0")
    with pytest.raises(UserError, match="switched off"):
        task.reward("```python\ndef add(x): return x + 3\n```", problem)


def test_a_space_that_cannot_contain_code_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKV_ALLOW_CODE", "1")
    monkeypatch.setenv("SPACE_ID", "user/space")
    monkeypatch.setattr(sandbox, "level", lambda: 0)
    with pytest.raises(UserError, match="This Space can't contain"):
        get_task("mbpp")
    monkeypatch.setattr(sandbox, "level", lambda: 1)
    assert get_task("mbpp").name == "mbpp"
