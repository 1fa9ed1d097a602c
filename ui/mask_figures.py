"""What a mask costs and saves, in figures; and how heavy the heads of its model are."""

from __future__ import annotations

from rlkv.masks import HeadMask
from ui.components.head_panel import HeadSize
from ui.components.tiles import Tile, tiles
from ui.engine import spec
from ui.studio import Settings
from ui.units import bytes_text, percent


def mask_figures(mask: HeadMask, length: int) -> str:
    """HTML of the figures of `mask` after `length` tokens."""
    size = size_of(mask)
    items = [
        Tile("Sparsity", percent(mask.sparsity)),
        Tile("Kept", str(mask.n_kept), f"of {mask.kept.size}", "full"),
        Tile("Compressed", str(mask.kept.size - mask.n_kept), f"of {mask.kept.size}", "comp"),
    ]
    if size is not None:
        bytes_now = mask.kv_bytes(length, head_dim=size.head_dim, itemsize=size.itemsize)
        bytes_full = 2 * size.head_dim * size.itemsize * mask.kept.size * length
        items += [
            _bytes_tile("KV bytes, full", bytes_full, "full", "kv-full"),
            _bytes_tile("KV bytes, compressed", bytes_now, "comp", "kv-compressed"),
        ]
    items.append(Tile("KV saved", percent(mask.kv_saved(length), 1), f"at {length:,} tokens"))
    return tiles(items)


def _bytes_tile(name: str, count: int, role: str, key: str) -> Tile:
    value, unit = bytes_text(count).split()
    return Tile(name, value, unit, role, key)


def size_of(mask: HeadMask) -> HeadSize | None:
    """From the mask's own notes, which need no torch; else from the model's configuration."""
    noted = [mask.info.get(name) for name in ("head_dim", "itemsize", "query_heads")]
    whole = [n for n in noted if isinstance(n, int) and 0 < n < 10**6]
    if len(whole) == 3 and whole[2] >= mask.kv_heads:  # an imported file may say anything
        return HeadSize(whole[0], whole[1], whole[2] // mask.kv_heads)
    # Anybody may have written that name: on a shared copy it must not be looked up with the owner's
    # token, nor on the owner's disk.
    found = spec(mask.model) if Settings.from_environment().allows(mask.model) else None
    if found is not None and (found.layers, found.kv_heads) == mask.shape:
        return HeadSize(found.head_dim, found.itemsize, found.group)
    return None
