"""One table out of a safetensors file, read by its format's description.

The layout (https://huggingface.co/docs/safetensors): eight bytes with the length of the header,
little endian; the header, a JSON object of tensors with `dtype`, `shape` and `data_offsets`; the
data. Parsed here rather than by the library because it refuses bfloat16, the type that gates are
trained in, and because everything can be checked before a byte of data is touched.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np
from safetensors.numpy import save

from rlkv.errors import UserError
from rlkv.mask_files.json_text import read_object
from rlkv.mask_files.limits import MAX_HEADS, Table

MAX_HEADER = 100_000
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "u1", "U8": "u1",
}  # fmt: skip


def read_safetensors(data: bytes, name: str) -> Table:
    """The only table in `data`.

    Raises:
        UserError: if the file is damaged, or holds anything but one table of numbers.
    """
    wrong = UserError(f"{name} is damaged or holds more than one table.")
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(MAX_HEADER, len(data) - 8):
        raise wrong
    try:
        header = read_object(data[8 : 8 + size], name)
    except UserError as error:
        raise wrong from error
    tensors = [value for key, value in header.items() if key != "__metadata__"]
    if len(tensors) != 1 or not isinstance(tensors[0], dict):
        raise wrong
    dtype, shape, offsets = (tensors[0].get(k) for k in ("dtype", "shape", "data_offsets"))
    if not _whole_numbers(shape, MAX_HEADS) or not _whole_numbers(offsets, len(data)):
        raise wrong
    kind = _TYPES.get(dtype) if isinstance(dtype, str) else None
    if kind is None:
        raise UserError(f"{name} holds {str(dtype)[:20]}; gates are floating-point numbers.")
    if len(shape) > 4 or [0, math.prod(shape) * np.dtype(kind).itemsize] != offsets:
        raise wrong
    body = data[8 + size :]
    if len(body) != offsets[1]:
        raise wrong
    return _numbers(body, kind, dtype == "BF16").reshape(shape)


def write_safetensors(scores: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    """One table, called `gates`."""
    return bytes(save({"gates": np.ascontiguousarray(scores)}))


def _numbers(body: bytes, kind: str, brain: bool) -> Table:
    numbers = np.frombuffer(body, kind)
    if brain:  # bfloat16 is the upper half of a float32
        numbers = (numbers.astype("<u4") << 16).view("<f4")
    return numbers.astype(np.float64)


def _whole_numbers(value: object, most: int) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= most for n in value
    )
