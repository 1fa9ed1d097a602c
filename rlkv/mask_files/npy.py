"""A table of scores out of a .npy file; its header is checked before its data is touched."""

from __future__ import annotations

import ast
import math
from typing import Any

import numpy as np

from rlkv.errors import UserError
from rlkv.mask_files.limits import MAX_HEADS, Table

MAGIC = b"\x93NUMPY"
MAX_HEADER = 2000


def read_npy(data: bytes, name: str) -> Table:
    """The array in `data`, of any shape.

    Raises:
        UserError: if it is no array of numbers, or of another size than its header says.
    """
    try:
        shape, fortran, dtype, body = _parts(data)
    except (
        ValueError, SyntaxError, TypeError, KeyError, IndexError, OverflowError, RecursionError,
        MemoryError,
    ) as error:  # fmt: skip
        raise UserError(f"'{name}' is not a readable .npy file: export it again.") from error
    if dtype.hasobject or dtype.kind not in "fbui" or dtype.itemsize > 8:
        raise UserError(f"'{name}' holds {dtype.name[:30]}; head scores are numbers.")
    count = math.prod(shape)
    if min(shape, default=1) < 0 or count > MAX_HEADS or count * dtype.itemsize != len(body):
        raise UserError(f"'{name}' does not hold what its header says: export it again.")
    numbers = np.frombuffer(body, dtype).astype(np.float64)
    return numbers.reshape(shape, order="F" if fortran else "C")


def _parts(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], bytes]:
    """Shape, whether columns come first, type, and the numbers' bytes (numpy's NEP 1)."""
    wide = {(1, 0): 2, (2, 0): 4}[data[6], data[7]] if data.startswith(MAGIC) else 0
    size = int.from_bytes(data[8 : 8 + wide], "little")
    if not 0 < size <= MAX_HEADER or wide == 0:
        raise ValueError("no header")
    start = 8 + wide
    header = ast.literal_eval(data[start : start + size].decode("ascii").strip())
    shape, fortran, kind = header["shape"], header["fortran_order"], header["descr"]
    ok = isinstance(shape, tuple) and all(type(n) is int for n in shape) and len(shape) < 9
    if not (ok and isinstance(fortran, bool) and isinstance(kind, str)):
        raise ValueError("an odd header")
    return shape, fortran, np.dtype(kind), data[start + size :]
