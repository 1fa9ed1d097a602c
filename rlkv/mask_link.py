"""A mask as a short text that fits into an address: kept heads, window, and the model's name.

`rlkv1.LAYERSxHEADS.SINK.RECENT.BITS` and, where the mask knows its model, `.MODEL`; the bits are
packed row by row, both in base64url without padding. 36 x 8 heads take 48 characters.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

import numpy as np

from rlkv.errors import UserError
from rlkv.mask_files.limits import MAX_HEADS
from rlkv.mask_files.parsed import MAX_MODEL, Parsed, one_line

if TYPE_CHECKING:
    from rlkv.masks import HeadMask

MAX_LINK = 20_000
"""Characters: more than the largest mask takes."""
_LINK = re.compile(
    r"rlkv1\.(\d{1,5})x(\d{1,5})\.(\d{1,6})\.(\d{1,6})\.([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_-]{2,280}))?",
    re.ASCII,
)


def to_link(mask: HeadMask) -> str:
    """The kept heads, the window and the model of `mask` as text."""
    bits = _encoded(np.packbits(mask.kept).tobytes())
    link = f"rlkv1.{mask.layers}x{mask.kv_heads}.{mask.sink}.{mask.recent}.{bits}"
    model = one_line(mask.model, MAX_MODEL).encode()
    return f"{link}.{_encoded(model)}" if 0 < len(model) <= MAX_MODEL else link


def is_link(text: str) -> bool:
    """Whether `text` looks like a mask's link; reading it may still fail."""
    return len(text) <= MAX_LINK and _LINK.fullmatch(text) is not None


def read_link(text: str) -> Parsed:
    """The mask in a link: its scores are 1 where it keeps a head, else 0.

    Raises:
        UserError: if the text is none, or was cut off.
    """
    match = _LINK.fullmatch(text) if len(text) <= MAX_LINK else None
    if match is None:
        raise UserError("This is no link to a mask: it begins with rlkv1 and has no spaces.")
    layers, heads, sink, recent = (int(match[i]) for i in range(1, 5))
    try:
        data = _decoded(match[5])
        model = _decoded(match[6] or "").decode()
    except (binascii.Error, ValueError) as error:
        raise UserError("The link was cut off or changed; copy the link again.") from error
    if not 0 < layers * heads <= MAX_HEADS or len(data) != (layers * heads + 7) // 8:
        raise UserError("The link's mask does not fit the size it names; copy the link again.")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))[: layers * heads]
    kept = bits.reshape(layers, heads).astype(np.bool_)
    notes = ["from a link: kept heads only, scores are 1 and 0"]
    return Parsed(
        "link", kept.astype(np.float64), kept, sink, recent, model=model,
        name="Mask from a link", info={"notes": notes},
    )  # fmt: skip


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
