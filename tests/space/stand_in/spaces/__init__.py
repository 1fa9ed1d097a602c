"""Stands in for the package `spaces` on a ZeroGPU Space: calls run in a process forked for them.

As there: what goes in and comes out is pickled, an exception arrives as the name of its class,
closing a generator is seen by the other process after its next value, and a process that is done
waits for the next call of the same function.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any

_fork = multiprocessing.get_context("fork")
before = [name for name in ("torch", "gradio") if name in sys.modules]
"""What was imported earlier than this, and must not be."""
decorated: list[str] = []
calls: list[tuple[str, int, float]] = []
"""Function, process and seconds asked for."""


class Aborted(Exception):
    """What the app gets of an exception over there."""


class _Worker:
    def __init__(self, task: Callable[..., Any]) -> None:
        self.end, other = _fork.Pipe()
        self.stop = _fork.Event()
        self.process = _fork.Process(target=self._serve, args=(task, other), daemon=True)
        self.process.start()

    def _serve(self, task: Callable[..., Any], end: Any) -> None:
        os.environ["STAND_IN_CHILD"] = "1"
        while True:
            args, kwargs = pickle.loads(end.recv_bytes())
            self.stop.clear()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self._run, task, args, kwargs, end).result()

    def _run(self, task: Callable[..., Any], args: Any, kwargs: Any, end: Any) -> None:
        try:
            found = task(*args, **kwargs)
            if inspect.isgeneratorfunction(task):
                for value in found:
                    if self.stop.is_set():
                        found.close()
                        break
                    end.send_bytes(pickle.dumps(("value", value)))
                end.send_bytes(pickle.dumps(("end", None)))
            else:
                end.send_bytes(pickle.dumps(("end", found)))
        except Exception as error:
            end.send_bytes(pickle.dumps(("error", type(error).__name__)))

    def ask(self, args: Any, kwargs: Any) -> None:
        self.end.send_bytes(pickle.dumps((args, kwargs)))

    def receive(self) -> tuple[str, Any]:
        kind, value = pickle.loads(self.end.recv_bytes())
        if kind == "error":
            raise Aborted(value)
        return kind, value


def GPU(task: Callable[..., Any], *, duration: Any = 60) -> Callable[..., Any]:
    """The decorator."""
    decorated.append(task.__name__)
    free: list[_Worker] = []
    lock = threading.Lock()

    def begin(args: Any, kwargs: Any) -> _Worker:
        with lock:
            worker = free.pop() if free else _Worker(task)
        worker.ask(args, kwargs)
        seconds = duration(*args, **kwargs) if callable(duration) else duration
        calls.append((task.__name__, worker.process.pid or 0, seconds))
        return worker

    @wraps(task)
    def call(*args: Any, **kwargs: Any) -> Any:
        worker = begin(args, kwargs)
        _, value = worker.receive()
        free.append(worker)
        return value

    @wraps(task)
    def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
        worker = begin(args, kwargs)
        ended = False
        try:
            while True:
                kind, value = worker.receive()
                ended = kind == "end"
                if ended:
                    return
                yield value
        finally:
            worker.stop.set()
            while not ended:
                ended = worker.receive()[0] == "end"
            free.append(worker)

    return generate if inspect.isgeneratorfunction(task) else call
