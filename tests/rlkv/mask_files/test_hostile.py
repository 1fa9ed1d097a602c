"""Damaged and hostile files: each is read as a valid mask or refused in one line, nothing else."""

from __future__ import annotations

import json
import pickle
import re
import struct
import time
import zipfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.mask_files.found import look
from rlkv.mask_files.reading import parse_bytes
from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks
from tests.rlkv.mask_files.mutations import good_files, mutated, zipped
from ui.library.importing import kept, looked_at, preview
from ui.studio import Settings, Studio

FORMS = sorted(good_files(HeadMask.full(2, 2)))


@pytest.fixture(scope="module")
def mask() -> HeadMask:
    return HeadMask.random(
        4, 8, sparsity=0.4, seed=3, sink=4, recent=16, model="tracer", name="mine",
        info={"task": "tracing", "seed": 3, "metrics": {"accuracy_at_50": 0.9}},
    )  # fmt: skip


def imported(mask: HeadMask, seeds: range, folder: Path) -> int:
    """Imports damaged files as the library page does; -> how many were good enough to keep."""
    (folder / "uploads").mkdir()
    outside = sorted(path for path in folder.parent.iterdir())
    studio = Studio.open(Settings(data_dir=folder / "data"))
    good = 0
    for seed in seeds:
        name, data = mutated(mask, seed)
        path = folder / "uploads" / name
        path.write_bytes(data)
        pending = looked_at([str(path)], ())
        assert "<img" not in preview(studio, pending)
        if pending[0].found is None:
            assert pending[0].reason
            assert "\n" not in pending[0].reason
            continue
        kept(studio, pending, pending[0].number)
        good += 1
    rows = studio.masks.list()
    assert len(rows) == good
    for row in rows:
        require_valid(asdict(row))
    assert sorted(p.name for p in folder.iterdir()) == ["data", "uploads"]
    assert sorted(path for path in folder.parent.iterdir()) == outside
    assert studio.db.check() == []
    studio.db.close()
    return good


def require_valid(record: dict[str, Any]) -> None:
    """What is stored is a mask that every page can show."""
    found = HeadMask.from_record(record)
    assert found.scores.min() >= 0
    assert found.scores.max() <= 1
    assert np.isfinite(found.gates).all()
    assert 0 <= found.sink < 10**6
    assert 1 <= found.recent < 10**6
    assert len(found.name) <= 80
    assert not re.search(r"[\x00-\x1f\u202e]", found.name + found.model)
    json.dumps(record["info"], allow_nan=False, ensure_ascii=False).encode()
    assert HeadMask.load(found.to_link()).kept.tolist() == found.kept.tolist()


@pytest.mark.slow
def test_a_thousand_damaged_files_are_refused_or_valid(mask: HeadMask, tmp_path: Path) -> None:
    """About 4 s on 2 cores."""
    assert 50 < imported(mask, range(1000), tmp_path) < 700


@pytest.mark.parametrize("name", FORMS)
def test_every_beginning_of_a_file_is_refused_or_valid(name: str, mask: HeadMask) -> None:
    """A download that ended early, a byte at a time over what tells of the rest."""
    data = good_files(mask)[name]
    for length in range(min(len(data), 200)):
        with suppress(UserError):
            HeadMask(**parse_bytes(data[:length], name).fields())


def test_every_undamaged_form_is_read(mask: HeadMask, tmp_path: Path) -> None:
    for name, data in good_files(mask).items():
        path = tmp_path / name
        path.write_bytes(data)
        np.testing.assert_allclose(look(path).mask.scores, mask.scores, atol=1e-7)


class Planted:
    """A pickle that would write a file if it were opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["head.pt", "x.pkl", "y.bin", "scores.npy", "x.safetensors"])
def test_a_pickle_is_never_opened(name: str, tmp_path: Path) -> None:
    trap, path = tmp_path / "opened", tmp_path / name
    path.write_bytes(pickle.dumps(Planted(trap)))
    if name.endswith(".npy"):
        np.save(path, np.array([[Planted(trap)]], dtype=object), allow_pickle=True)
    with pytest.raises(UserError) as caught:
        look(path)
    assert not trap.exists()
    if path.suffix in (".pt", ".pkl", ".bin"):
        assert "weights_only=True" in str(caught.value)


def test_bombs_and_lies_cost_nothing(mask: HeadMask, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(zipped({"gates.safetensors": bytes(80_000_000), "config.json": b"{}"}))
    lie = tmp_path / "lie.zip"
    packed = bytearray(zipped({"full_attention_heads.tsv": bytes(20_000_000)}))
    place = packed.rfind(b"PK\x01\x02")
    packed[place + 24 : place + 28] = struct.pack("<I", 100)  # the size in the zip's own list
    lie.write_bytes(bytes(packed))
    many = tmp_path / "many.zip"
    many.write_bytes(zipped({f"{i}.txt": b"" for i in range(3000)}, zipfile.ZIP_STORED))
    giant = tmp_path / "giant.safetensors"
    header = b'{"gates":{"dtype":"F32","shape":[100000,100000],"data_offsets":[0,40000000000]}}'
    giant.write_bytes(struct.pack("<Q", len(header)) + header)
    began = time.monotonic()
    for path in (bomb, lie, many, giant):
        with pytest.raises(UserError):
            look(path)
    assert time.monotonic() - began < 10


def test_two_masks_in_one_zip_are_not_guessed_between(mask: HeadMask, tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    table = good_files(mask)["full_attention_heads.tsv"]
    names = ("a/full_attention_heads.tsv", "b/full_attention_heads.tsv")
    path.write_bytes(zipped(dict.fromkeys(names, table)))
    with pytest.raises(UserError, match="holds 2 masks, in a, b"):
        look(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rlkv1.4x8.4.16.AAAA", "does not fit"),
        ("rlkv1.4x8.4.16.AAAAA", "cut off"),
        ("rlkv1.0x8.4.16.AAAA", "does not fit"),
        ("rlkv1.99999x99999.4.16.AAAA", "does not fit"),
        ("rlkv1.4x8.4.0.AAAAAA", "recent >= 1"),
        ("rlkv1.4x8.4.16.AAAAAA._w", "cut off"),
    ],
)
def test_links_that_were_changed(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        look(text)


def test_what_a_stranger_writes_is_stored_as_text(tmp_path: Path) -> None:
    """Names and notes from a file reach the database without what could act on a page."""
    evil = HeadMask.full(2, 2, name="a\x00b\u202ec\n" + "<b>" * 90, model="m\r\nSet-Cookie: x")
    path = evil.save_zip(tmp_path / "x.zip")
    db = open_database(tmp_path / "data")
    row = Masks(db).save(look(path).mask.to_record())
    db.close()
    assert row.name.startswith("a b c <b>")
    assert len(row.name) <= 80
    assert row.model == "m Set-Cookie: x"


def test_notes_beyond_any_trainings_are_refused(tmp_path: Path) -> None:
    fits = HeadMask.full(4, 8, info={"notes": ["x" * 255_000]})
    assert look(fits.save(tmp_path / "fits")).mask == fits
    more = HeadMask.full(4, 8, info={"notes": ["x" * 257_000]})
    with pytest.raises(UserError, match="at most 256000 are read"):
        look(more.save_zip(tmp_path / "more.zip"))


def test_notes_nested_without_end_are_refused(tmp_path: Path) -> None:
    def nested(times: int) -> dict[str, Any]:
        return {"notes": json.loads("[" * times + "]" * times)}

    fits = HeadMask.full(4, 8, info=nested(39))
    assert look(fits.save(tmp_path / "fits")).mask == fits
    more = HeadMask.full(4, 8, info=nested(40))
    with pytest.raises(UserError, match="nested over 40 deep"):
        look(more.save_zip(tmp_path / "more.zip"))
