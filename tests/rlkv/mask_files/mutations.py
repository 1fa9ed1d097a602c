"""Mask files of every form, and seeded damage to them."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable

import numpy as np

from rlkv.mask_files import contents, write_adapter_weights
from rlkv.mask_files.limits import CONFIG, GATES, MAX_BYTES, TSV
from rlkv.masks import HeadMask

Change = Callable[[random.Random, bytes], bytes]
SNIPPETS = [
    b"nan", b"inf", b"-inf", b"1e999", b"NaN", b"1" * 40, b"\x00", b"\xff\xfe", b"../../x", b"{",
    b"[", b'"\\ud800"', b"\t", b"\n", b",", b"-1", b"99999999999", b"<img src=x onerror=alert(1)>",
    b"null", b"true", b"[" * 3000, b"# rlkv-mask {}",
]  # fmt: skip


def good_files(mask: HeadMask) -> dict[str, bytes]:
    """A valid file of every form, by name."""
    files = contents(mask)
    array, rows = io.BytesIO(), mask.scores.tolist()
    np.save(array, mask.scores)
    pairs = {f"{i}-{j}": [s, s / 2] for i, row in enumerate(rows) for j, s in enumerate(row)}
    plain = files[TSV].partition(b"\n")[2]  # without our own line, as DuoAttention writes it
    duo = {TSV: plain, CONFIG: b'{"sink_size": 128, "recent_size": 256, "model_name": "m/x"}'}
    return {
        "own.zip": zipped(files),
        "folder.zip": zipped({f"mask/{name}": data for name, data in files.items()}),
        "duo.zip": zipped(duo),
        "full_attention_heads.tsv": files[TSV],
        "table.tsv": plain,
        "adapter_weights.tsv": write_adapter_weights(mask),
        "scores.npy": array.getvalue(),
        "scores.safetensors": files[GATES],
        "rows.json": json.dumps(rows).encode(),
        "named.json": json.dumps({"scores": rows, "model": "m/x"}).encode(),
        "pairs.json": json.dumps(pairs).encode(),
    }


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip with those entries, under exactly those names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return out.getvalue()


def mutated(mask: HeadMask, seed: int) -> tuple[str, bytes]:
    """One file, damaged; -> its name and content."""
    chance = random.Random(seed)
    files = good_files(mask)
    name = chance.choice(sorted(files))
    data = files[name]
    if name.endswith(".zip") and chance.random() < 0.8:
        return name, _damaged_zip(chance, data)
    for _ in range(chance.randint(1, 4)):
        data = chance.choice(CHANGES)(chance, data)
    return name, data


def _damaged_zip(chance: random.Random, data: bytes) -> bytes:
    """A zip whose entries are damaged, renamed, doubled, or blown up."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    victim = chance.choice(sorted(entries))
    kind = chance.randrange(7)
    if kind == 0:
        entries[f"../../../{victim}"] = entries.pop(victim)
    elif kind == 1:
        entries[f"/etc/{victim}"] = entries[victim]
    elif kind == 2:
        entries[f"C:\\{victim}"] = entries.pop(victim)
    elif kind == 3:
        entries[victim] = bytes(MAX_BYTES + chance.randint(0, 3))
    elif kind == 4:
        packed = bytearray(zipped(entries))
        for _ in range(chance.randint(1, 12)):
            packed[chance.randrange(len(packed))] = chance.randrange(256)
        return bytes(packed)
    elif kind == 5:
        entries[CONFIG] = _odd_config(chance, entries.get(CONFIG, b"{}"))
    else:
        for _ in range(chance.randint(1, 3)):
            entries[victim] = chance.choice(CHANGES)(chance, entries[victim])
    compression = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    return zipped(entries, compression)


def _odd_config(chance: random.Random, data: bytes) -> bytes:
    """A config with one value of another kind."""
    try:
        config = json.loads(data)
    except ValueError:
        config = {}
    odd: list[object] = [
        None, -1, 10**12, True, "", "x" * 5000, [], [[]], {}, {"a": [{}]}, 1e308, ["1" * 8] * 4,
        "\u202e<b>\x00name", [["a", 1]], {"gates": [[1e308]]}, {"metrics": [1], "notes": 3},
    ]  # fmt: skip
    key = chance.choice([*sorted(config), "schema", "info", "name", "kept", "deploy_sink_size"])
    return json.dumps(config | {key: chance.choice(odd)}).encode()


def _flipped(chance: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    place = chance.randrange(len(data))
    return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _without(chance: random.Random, data: bytes) -> bytes:
    first, last = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + data[last:]


def _doubled(chance: random.Random, data: bytes) -> bytes:
    first, last = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:]


def _inserted(chance: random.Random, data: bytes) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice(SNIPPETS) + data[place:]


def _number(chance: random.Random, data: bytes) -> bytes:
    """A length in a header says something else."""
    if len(data) < 16:
        return data
    return chance.randbytes(8) + data[8:]


def _swelled(chance: random.Random, data: bytes) -> bytes:
    return data * (MAX_BYTES // max(1, len(data)) + 2) if chance.random() < 0.1 else data * 2


CHANGES: list[Change] = [_flipped, _cut, _without, _doubled, _inserted, _number, _swelled]
