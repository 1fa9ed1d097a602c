"""How a training far away tells what happens: lines of its log.

A message is JSON with a running number. Long ones are cut, since log collectors break lines at
16 kB. Lines without the mark are ordinary output.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv.masks import HeadMask

MARK = "@rlkv"
PIECE = 4000
"""Characters of one line's payload."""

Message = dict[str, Any]
"""`number`, `kind` (model, event, step, mask, failed, ...) and what belongs to the kind."""


def cut(message: Message) -> list[str]:
    """A message as lines `@rlkv NUMBER PART PARTS PIECE`."""
    text = json.dumps(message, separators=(",", ":"))
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    head = f"{MARK} {message['number']}"
    return [f"{head} {part} {len(pieces)} {piece}" for part, piece in enumerate(pieces)]


class Joiner:
    """Puts lines together again."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, line: str) -> Message | None:
        """The message that this line completes, if it does.

        Raises:
            ValueError: if a line with the mark makes no sense.
        """
        if not line.startswith(f"{MARK} "):
            return None
        _, _, part, parts, piece = line.rstrip("\r\n").split(" ", 4)
        if int(part) == 0:
            self._pieces = []
        self._pieces.append(piece)
        if len(self._pieces) < int(parts):
            return None
        whole, self._pieces = "".join(self._pieces), []
        message: Message = json.loads(whole)
        return message


class LineObserver:
    """Tells a training's course in lines; nothing can stop it but its end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._number = 0
        self._whole = threading.Lock()  # the lines of two messages must not mix

    def send(self, kind: str, **values: Any) -> None:
        with self._whole:
            self._number += 1
            for line in cut({"number": self._number, "kind": kind, **values}):
                self._write(line)

    def event(self, text: str) -> None:
        self.send("event", text=text)

    def phase(self, name: str, done: int, total: int) -> None:
        self.send("phase", name=name, done=done, total=total)

    def resumed(self, step: int) -> None:
        self.send("resumed", step=step)

    def step(self, step: int, metrics: Mapping[str, float], gates: NDArray[np.float32]) -> None:
        packed = _packed(gates.astype("<f4").tobytes())
        self.send("step", step=step, metrics=dict(metrics), shape=gates.shape, gates=packed)

    def should_stop(self) -> bool:
        return False

    def mask(self, mask: HeadMask) -> None:
        """The end of a training that came to one."""
        record = mask.to_record()
        self.send("mask", record={k: _packed(v) if isinstance(v, bytes) else v
                                  for k, v in record.items()})  # fmt: skip


def gates_of(message: Message) -> NDArray[np.float32]:
    """The gates `[layers, kv_heads]` of a message of kind step."""
    data = base64.b64decode(message["gates"])
    return np.frombuffer(data, "<f4").reshape(message["shape"]).astype(np.float32)


def mask_of(message: Message) -> HeadMask:
    """The mask of a message of kind mask."""
    record = dict(message["record"])
    packed = {name: base64.b64decode(record[name]) for name in ("scores", "kept")}
    return HeadMask.from_record({**record, **packed})


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
