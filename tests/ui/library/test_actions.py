"""What the library's events may do, whoever sends them; averages; origins; links."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.mask_files import shared_contents
from rlkv.masks import HeadMask
from storage.errors import StorageError
from ui import catalogue
from ui.library import importing, shelf, view
from ui.library.averaging import average
from ui.library.importing import all_kept, kept, looked_at
from ui.library.page import _checked, found, stored_key
from ui.library.sharing import address, share_card
from ui.studio import Settings, Studio

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio.open(Settings(data_dir=tmp_path))
    yield studio
    studio.db.close()


def mask(seed: int, **fields: Any) -> HeadMask:
    return HeadMask.random(
        4, 8, sparsity=0.5, seed=seed,
        **{"sink": 4, "recent": 16, "model": "tracer", "name": f"seed {seed}", **fields},
    )  # fmt: skip


def keep(studio: Studio, one: HeadMask, **where: Any) -> str:
    return studio.masks.save(one.to_record(), **where).id


@pytest.mark.parametrize(
    "data", [{}, {"key": None}, {"key": 3}, {"key": ["x"]}, {"key": "x" * 50}, {"key": "shipped"},
             {"key": "shipped:tracer-seed1"}]
)  # fmt: skip
def test_no_key_but_of_a_stored_mask_is_changed(data: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        stored_key(data)


def test_what_belongs_to_the_copy_itself_has_no_buttons_for_visitors(studio: Studio) -> None:
    key = keep(studio, mask(0))
    assert 'data-do="remove"' in view.shelf(shelf.items(studio), 7, [])
    public = Studio(Settings(shared=True), studio.db)
    assert key in [item.key for item in shelf.items(public)]
    assert 'data-do="remove"' not in view.shelf(shelf.items(public), 7, [])
    with pytest.raises(StorageError, match="came with the public copy"):
        public.masks.delete(key)
    assert studio.masks.get(key).name == "seed 0"


def test_refusals_reach_the_person_escaped(studio: Studio) -> None:
    def refuse(data: dict[str, Any], words: str, model: str) -> list[Any]:
        raise StorageError(EVIL)

    run: Callable[..., Any] = _checked(refuse)
    with pytest.raises(gr.Error) as caught:
        run(SimpleNamespace(_data="not a dict"), "", "")
    assert "<script>" not in caught.value.message


def test_a_key_that_is_gone_opens_no_other_mask(studio: Studio) -> None:
    for key in ("nothing", None, 4, "rlkv1.4x8.4.16.AA"):
        with pytest.raises(UserError, match="is gone"):
            found(studio, key)
    link = mask(1).to_link()
    entry = found(studio, link)
    assert not entry.is_stored
    assert np.array_equal(entry.mask.kept, mask(1).kept)


def test_the_average_is_that_of_the_ranks(studio: Studio) -> None:
    masks = [mask(seed) for seed in range(5)]
    made = average([(str(i), one) for i, one in enumerate(masks)])
    mean = np.mean([one.ranks() for one in masks], axis=0)
    assert np.array_equal(np.argsort(mean, axis=None, kind="stable")[:16],
                          np.argsort(made.ranks(), axis=None, kind="stable")[:16])  # fmt: skip
    assert made.n_kept == 16
    np.testing.assert_allclose(made.gates, np.mean([one.gates for one in masks], axis=0), atol=1e-5)
    assert [one["name"] for one in made.info["averaged"]] == [f"seed {i}" for i in range(5)]


@pytest.mark.parametrize(
    ("other", "says"),
    [({"model": "other"}, "one model"), ({"recent": 17}, "different windows")],
)
def test_only_masks_that_match_are_averaged(other: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        average([("a", mask(0)), ("b", mask(1, **other))])
    with pytest.raises(UserError, match="2 to"):
        average([("a", mask(0)), ("a", mask(0))])


def test_where_a_mask_came_from(studio: Studio) -> None:
    parent = keep(studio, mask(0))
    edited = mask(1, info={catalogue.MADE_FROM: {"name": "seed 0", "key": parent}})
    lying = mask(2, info={catalogue.MADE_FROM: {"name": EVIL, "key": "javascript:alert(1)"}})
    keys = [keep(studio, one) for one in (edited, lying)]
    by_key = {item.key: item for item in shelf.items(studio)}
    assert by_key["shipped"].origin.words == "shipped with the app"
    assert by_key[keys[0]].origin.links == (("seed 0", f"./heads?mask={parent}"),)
    assert by_key[keys[1]].origin.links == ((EVIL, ""),)
    html = view.shelf(list(by_key.values()), 9, [])
    assert "<script>" not in html
    assert "javascript:" not in html


def test_search_looks_at_name_model_task_seed_and_origin(studio: Studio) -> None:
    key = keep(studio, mask(77, info={"task": "tracing", "seed": 77}))
    all_masks = shelf.items(studio)
    for words in ("SEED 77", "tracing 77", "tracer kept"):
        assert key in [item.key for item in shelf.matching(all_masks, words, "")]
    assert shelf.matching(all_masks, "seed 77", "other") == []
    assert shelf.matching(all_masks, "nothing-like-it", "") == []


@pytest.mark.parametrize(
    "base",
    ["javascript:alert(1)//", 'http://x/"><b>', "//x/", None, 3, "http://" + "x" * 900 + "/"],
)  # fmt: skip
def test_a_link_is_made_for_an_address_of_an_app_only(base: object) -> None:
    with pytest.raises(UserError, match="can't be made"):
        address(mask(0), base, "heads")
    with pytest.raises(UserError, match="can't be made"):
        address(mask(0), "http://localhost:7860/", "../x")


def test_a_code_as_large_as_fits_and_words_where_none_does() -> None:
    base = "https://user-space.hf.space/"
    assert "<svg" in share_card(HeadMask.full(36, 8), base, "heads", "k")
    assert "too large" in share_card(HeadMask.full(200, 64), base, "heads", "k")
    example = HeadMask.from_pretrained("tracer")
    assert ">Shipped example as a link<" in share_card(example, base, "heads", "shipped")


def test_an_import_is_kept_once_and_for_a_model_of_its_shape(
    studio: Studio, tmp_path: Path
) -> None:
    path = tmp_path / "scores.tsv"
    np.savetxt(path, np.random.default_rng(0).random((4, 8)), delimiter="\t")
    pending = looked_at([str(path)], ())
    with pytest.raises(UserError, match="no longer waiting"):
        kept(studio, pending, 2)
    rest, key = kept(studio, pending, 1, "org/of-another-shape")
    assert studio.masks.get(key).model == ""
    with pytest.raises(UserError, match="no longer waiting"):
        kept(studio, rest, 1)
    with pytest.raises(UserError, match="20 files at once"):
        looked_at([str(path)] * 21, ())


def test_what_was_kept_before_a_refusal_does_not_wait_any_more(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(mask(seed).save_zip(tmp_path / f"{seed}.zip")) for seed in range(3)]
    pending = looked_at(paths, ())
    most = [2]

    def store(*given: Any) -> str:
        most[0] -= 1
        if most[0] < 0:
            raise StorageError("No room for more.")
        return importing_store(*given)

    importing_store = importing.store
    monkeypatch.setattr(importing, "store", store)
    rest, words = all_kept(studio, pending)
    assert words == "Kept 2 of 3 masks. No room for more."
    assert [one.number for one in rest] == [3]
    with pytest.raises(StorageError, match="No room"):
        all_kept(studio, rest)
    most[0] = 2
    assert all_kept(studio, rest) == ((), "Kept 1 mask.")
    assert sorted(row.name for row in studio.masks.list()) == ["seed 0", "seed 1", "seed 2"]


def _uploaded(folder: Path, files: Mapping[str, str | bytes]) -> list[str]:
    """As Gradio keeps them: each file in a folder of its own."""
    paths = []
    for number, (name, text) in enumerate(files.items()):
        path = folder / str(number) / name.rpartition("/")[2]
        path.parent.mkdir(parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        paths.append(str(path))
    return paths


DUO = {
    "config.json": json.dumps({"sink_size": 64, "recent_size": 256, "model_name": "org/base"}),
    "full_attention_heads.tsv": "0.1\t0.9\n0.8\t0.2\n",
}


def test_the_files_of_a_duo_attention_folder_are_one_mask(studio: Studio, tmp_path: Path) -> None:
    (one,) = pending = looked_at(_uploaded(tmp_path, DUO), ())
    assert one.file == "full_attention_heads.tsv + config.json"
    assert one.found is not None
    assert one.found.form == "DuoAttention pattern"
    found = one.found.mask
    assert (found.sink, found.recent, found.model) == (64, 256, "org/base")
    _, key = kept(studio, pending, 1)
    row = studio.masks.get(key)
    assert (row.name, row.recent) == ("full_attention_heads", 256)


def test_the_files_of_a_folder_of_ours_are_one_mask_beside_others(tmp_path: Path) -> None:
    ours = shared_contents(mask(3).toggle(0, 0))
    for without in ((), ("gates.safetensors",)):
        folder = {name: data for name, data in ours.items() if name not in without}
        files = {"scores.tsv": b"0.1\t0.9\n", **folder}
        pending = looked_at(_uploaded(tmp_path / str(len(without)), files), ())
        first, other = (one.found for one in pending)
        assert first is not None
        assert first.form == "RLKV Studio mask"
        assert first.mask == mask(3).toggle(0, 0)
        assert other is not None
        assert other.form == "table of scores"


def test_what_cannot_be_told_apart_is_looked_at_by_itself(tmp_path: Path) -> None:
    twice = {**DUO, "b/config.json": DUO["config.json"]}
    forms = [
        one.found and one.found.form for one in looked_at(_uploaded(tmp_path / "a", twice), ())
    ]
    assert forms == [None, "table of scores", None]
    damaged = {**DUO, "config.json": "{"}
    (one,) = looked_at(_uploaded(tmp_path / "b", damaged), ())
    assert "not valid JSON" in one.reason
