"""Masks to and from a Hub that speaks its real HTTP API, by the Hub's own client."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from rlkv.errors import UserError
from rlkv.hub.browsing import browse
from rlkv.mask_files import TSV, contents
from rlkv.masks import HeadMask
from tests.rlkv.hub_client import use
from tests.rlkv.hub_stand_in import COMMIT, HubStandIn, hub

yaml: Any = pytest.importorskip("yaml")
TOKEN = "hf_standInTokenThatMustNotShowAnywhere"
READER = "hf_standInTokenThatMayOnlyRead"
FILES = {
    "README.md", "config.json", "full_attention_heads.tsv", "gates.safetensors", "heads.svg"
}  # fmt: skip


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[HubStandIn]]:
    with hub({TOKEN: "user", READER: "reader"}) as (endpoint, handler):
        use(monkeypatch, endpoint, tmp_path / "hf")
        yield handler
    huggingface_hub.close_session()


@pytest.fixture
def mask() -> HeadMask:
    info = {"task": "maths: hard", "seed": 3, "metrics": {"accuracy_at_50": 0.875, "n": 40}}
    return HeadMask.random(
        4, 8, sparsity=0.5, seed=0, sink=4, recent=16, model="org/base", name="mine", info=info
    )


def test_a_mask_goes_to_the_hub_in_one_commit_and_comes_back(
    stand_in: type[HubStandIn], mask: HeadMask
) -> None:
    address = mask.push_to_hub("user/my-mask", token=TOKEN)
    ((commit, files),) = stand_in.history["user/my-mask"]
    assert address.endswith(f"/user/my-mask/commit/{commit}")
    assert stand_in.commits == ["Upload head mask"]
    assert set(files) == FILES | {".gitattributes"}
    # The gates went ahead, as large files do; one commit names them with all others.
    steps = [path.partition("?")[0] for path, _ in stand_in.asked]
    batch = "/user/my-mask.git/info/lfs/objects/batch"
    assert steps.index(batch) < steps.index("/api/models/user/my-mask/commit/main")
    assert list(stand_in.blobs.values()) == [files["gates.safetensors"]]
    back = HeadMask.from_pretrained("user/my-mask")
    assert back.info["hub"] == {"repo": "user/my-mask", "commit": commit}
    assert replace(back, info=mask.info) == mask
    assert HeadMask.load("user/my-mask") == mask


def test_the_card_is_found_by_model_and_shows_results_and_use(
    stand_in: type[HubStandIn], mask: HeadMask
) -> None:
    hostile = replace(mask, name="a: b\n---\nlicense: <script>x</script>")
    hostile.push_to_hub("user/my-mask", token=TOKEN)
    text = stand_in.repos["user/my-mask"]["README.md"].decode()
    _, front, body = text.split("---\n", 2)
    card = yaml.safe_load(front)
    assert (card["base_model"], card["base_model_relation"]) == ("org/base", "adapter")
    assert card["library_name"] == "rlkv"
    assert {"rlkv", "kv-cache", "head-mask"} <= set(card["tags"])
    assert "license" not in card
    (result,) = card["model-index"][0]["results"]
    assert result["dataset"]["name"] == "maths: hard"
    assert result["metrics"][0]["value"] == 0.875
    assert "<script>" not in body
    assert "87.5 %" in body
    assert 'rlkv.HeadMask.load("user/my-mask")' in body


def test_pushing_again_is_a_new_commit_and_the_old_one_stays_readable(
    stand_in: type[HubStandIn], mask: HeadMask
) -> None:
    mask.push_to_hub("user/my-mask", token=TOKEN)
    other = mask.at_sparsity(0.75)
    other.push_to_hub("user/my-mask", token=TOKEN, message="Fewer heads")
    assert stand_in.commits == ["Upload head mask", "Fewer heads"]
    first = stand_in.history["user/my-mask"][0][0]
    assert (HeadMask.from_pretrained("user/my-mask").kept == other.kept).all()
    assert (HeadMask.from_pretrained("user/my-mask", revision=first).kept == mask.kept).all()
    with pytest.raises(UserError, match="no such repository or revision"):
        HeadMask.from_pretrained("user/my-mask", revision="v9")


def test_what_goes_wrong_is_one_line_that_helps_and_never_tells_the_token(
    stand_in: type[HubStandIn], mask: HeadMask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stand_in.repos["user/model"] = {"model.safetensors": b"weights", "config.json": b"{}"}
    stand_in.repos["user/public"] = {}
    cases: list[tuple[str, str | None, bool, str]] = [
        ("user/my-mask", None, False, "needs a token: run `hf auth login`"),
        ("user/my-mask", "hf_wrong" * 4, False, "the token is wrong or has expired"),
        ("reader/my-mask", READER, False, "right to write"),
        ("someone/my-mask", TOKEN, False, "right to write"),
        ("user/model", TOKEN, False, "something else than a mask"),
        ("user/public", TOKEN, True, "is public already"),
        ("no repository", TOKEN, False, "write it as owner/name"),
    ]
    for repo, token, private, words in cases:
        with pytest.raises(UserError) as caught:
            mask.push_to_hub(repo, token=token, private=private)
        said = str(caught.value)
        assert words in said, said
        assert "\n" not in said
        assert not token or token not in said
        assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, UserError)
    assert stand_in.commits == []
    assert stand_in.repos["user/model"]["config.json"] == b"{}"
    assert TOKEN not in caplog.text
    assert READER not in caplog.text


def test_gates_that_the_hub_does_not_take_are_no_half_a_push(
    stand_in: type[HubStandIn], mask: HeadMask
) -> None:
    stand_in.full = True
    with pytest.raises(UserError, match=r"Nothing was pushed.* larger than the Hub takes"):
        mask.push_to_hub("user/my-mask", token=TOKEN)
    assert (stand_in.commits, set(stand_in.repos["user/my-mask"])) == ([], {".gitattributes"})
    stand_in.full = False
    mask.push_to_hub("user/my-mask", token=TOKEN)
    mask.at_sparsity(0.75).push_to_hub("user/my-mask", token=TOKEN)  # the same gates
    assert len(stand_in.blobs) == 1


def test_what_somebody_else_pushed_meanwhile_is_not_overwritten(
    stand_in: type[HubStandIn], mask: HeadMask
) -> None:
    mask.push_to_hub("user/my-mask", token=TOKEN)
    stand_in.race = True
    with pytest.raises(UserError, match="somebody else changed the repository"):
        mask.push_to_hub("user/my-mask", token=TOKEN)
    assert stand_in.commits == ["Upload head mask"]
    mask.push_to_hub("user/my-mask", token=TOKEN)
    assert stand_in.repos["user/my-mask"]["theirs.txt"] == b"first"


def test_a_private_mask_is_its_owners(stand_in: type[HubStandIn], mask: HeadMask) -> None:
    mask.push_to_hub("user/secret", token=TOKEN, private=True)
    assert (HeadMask.from_pretrained("user/secret", token=TOKEN).kept == mask.kept).all()
    for token in (None, READER):
        with pytest.raises(UserError, match="'user/secret' can't be read"):
            HeadMask.from_pretrained("user/secret", token=token, revision="main")
    assert [one.repo for one in browse("org/base", token=TOKEN)] == ["user/secret"]
    assert browse("org/base") == []


def test_folders_of_this_machine_stay_on_this_machine(
    stand_in: type[HubStandIn], mask: HeadMask, tmp_path: Path
) -> None:
    path = str(tmp_path / "models" / "my llama")
    local = replace(mask, model=path, info={"recipe": {"model": path, "steps": [1, path]}})
    local.push_to_hub("user/local", token=TOKEN)
    for data in stand_in.repos["user/local"].values():
        assert str(tmp_path).encode() not in data
    back = HeadMask.from_pretrained("user/local")
    assert (back.model, back.info["recipe"]["model"]) == ("my-llama", "my-llama")


def test_masks_are_found_by_model_and_words(stand_in: type[HubStandIn], mask: HeadMask) -> None:
    mask.push_to_hub("user/a-maths", token=TOKEN)
    mask.push_to_hub("user/b-code", token=TOKEN)
    replace(mask, model="org/other").push_to_hub("user/c", token=TOKEN)
    replace(mask, model="tracer").push_to_hub("user/d", token=TOKEN)
    stand_in.repos["user/no-mask"] = {"README.md": b"---\nbase_model: org/base\n---\n"}
    assert [one.repo for one in browse("org/base")] == ["user/a-maths", "user/b-code"]
    assert [one.repo for one in browse("org/base", search="code")] == ["user/b-code"]
    assert [one.repo for one in browse("tracer")] == ["user/d"]
    (found,) = browse("org/other")
    assert (found.likes, found.downloads, found.private) == (3, 14, False)


def test_a_cache_laid_out_as_the_hubs_is_read_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mask: HeadMask
) -> None:
    repo = tmp_path / "hf" / "models--user--kept"
    mask.save(repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "hf")
    assert (HeadMask.from_pretrained("user/kept").kept == mask.kept).all()
    assert (HeadMask.load("user/kept").kept == mask.kept).all()
    for load in (HeadMask.load, HeadMask.from_pretrained):
        with pytest.raises(UserError, match=r"127\.0\.0\.1 can't be reached"):
            load("user/other")
    monkeypatch.setenv("RLKV_OFFLINE", "1")
    with pytest.raises(UserError, match="work offline"):
        HeadMask.from_pretrained("user/other")


def test_a_folder_has_no_revisions(tmp_path: Path, mask: HeadMask) -> None:
    folder = mask.save(tmp_path / "mask")
    assert HeadMask.from_pretrained(folder) == mask
    with pytest.raises(UserError, match="belongs to a repository"):
        HeadMask.from_pretrained(folder, revision="main")


def test_a_name_that_the_hub_has_for_no_repository_is_one_line(
    stand_in: type[HubStandIn],
) -> None:
    for repo in ("user/mask-", "user/mask.git"):
        for load in (HeadMask.load, HeadMask.from_pretrained):
            with pytest.raises(UserError, match=f"'{repo}' can't be read: it is no name"):
                load(repo)


def test_a_table_alone_is_called_by_its_repository(
    stand_in: type[HubStandIn], mask: HeadMask
) -> None:
    table = contents(mask)[TSV]
    stand_in.repos["someone/duo-tables"] = {TSV: table.split(b"\n", 1)[1]}
    assert HeadMask.load("someone/duo-tables").name == "duo-tables"


def test_a_missing_file_is_not_looked_for_on_the_hub(stand_in: type[HubStandIn]) -> None:
    for name in ("masks/x.tsv", "masks/X.ZIP", "masks/x.npy", "masks/x.pt"):
        with pytest.raises(UserError, match=f"There is no mask at '{name}'"):
            HeadMask.load(name)
    assert stand_in.asked == []


def test_a_file_too_large_for_a_mask_is_not_fetched(stand_in: type[HubStandIn]) -> None:
    stand_in.repos["user/huge"] = {"config.json": b"{}", "gates.safetensors": bytes(6_000_000)}
    with pytest.raises(UserError, match="larger than any mask"):
        HeadMask.from_pretrained("user/huge")
    assert not any("/resolve/" in path for path, _ in stand_in.asked)
    assert json.dumps(stand_in.commits) == "[]"


def test_a_branch_that_moves_after_the_look_is_fetched_as_it_was(
    monkeypatch: pytest.MonkeyPatch, stand_in: type[HubStandIn], mask: HeadMask
) -> None:
    mask.push_to_hub("user/my-mask", token=TOKEN)
    looked_at = stand_in.history["user/my-mask"][0][0]
    stand_in.moves["user/my-mask"] = {
        **stand_in.repos["user/my-mask"],
        "config.json": bytes(6_000_000),
    }
    fetched = HeadMask.from_pretrained("user/my-mask")
    assert len(stand_in.history["user/my-mask"]) == 2
    assert (fetched.kept == mask.kept).all()
    assert fetched.info["hub"]["commit"] == looked_at
    monkeypatch.setenv("RLKV_OFFLINE", "1")
    assert HeadMask.from_pretrained("user/my-mask") == fetched
