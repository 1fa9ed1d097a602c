"""The public endpoints: what they answer, whom they refuse, and that there are no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from rlkv.masks import HeadMask
from rlkv.models import model_spec
from rlkv.worker import create
from storage.database import open_database
from ui import Settings, Studio, catalogue, job_view, shell
from ui.api.describing import described, put_into
from ui.api.endpoints import endpoints, public
from ui.heavy import heavy

ROOT = Path(__file__).parents[2]
NAMES = [
    "list_masks", "get_mask", "estimate_memory", "generate", "start_training", "start_evaluation",
    "job", "jobs", "stop_job",
]  # fmt: skip
PUZZLE = "c=7; b=6; e:c-b; k:c-e; ?k"


class Api:
    """The endpoints as Gradio calls them."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._known = {one.__name__: public(one) for one in endpoints(studio)}

    def __call__(self, name: str, *given: Any) -> Any:
        answer = self._known[name](*given)
        if isinstance(answer, Iterator):
            return [json.loads(json.dumps(one)) for one in answer]
        return json.loads(json.dumps(answer))

    def refused(self, name: str, *given: Any) -> str:
        with pytest.raises(gr.Error) as caught:
            self(name, *given)
        assert "\n" not in caught.value.message
        return str(caught.value.message)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr("ui.api.jobs.ensure_running", lambda folder: None)
    studio = Studio.open(Settings(data_dir=tmp_path / "data"))
    yield Api(studio)
    studio.db.close()


@pytest.fixture
def public_copy(tmp_path: Path) -> Iterator[Api]:
    """As on a Space, of the same data."""
    settings = Settings(may_train=False, shared=True, data_dir=tmp_path / "data")
    studio = Studio(settings=settings, db=open_database(settings.data_dir))
    yield Api(studio)
    studio.db.close()


def test_the_page_says_what_the_code_does() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert put_into(page) == page
    assert [line for line in described().splitlines() if line.startswith("### `/")] == [
        f"### `/{name}`" for name in NAMES
    ]


def test_masks_are_listed_and_given_whole(api: Api) -> None:
    own = HeadMask.random(4, 8, sparsity=0.25, seed=1, model="tracer", name="<b>mine</b>")
    key = api.studio.masks.save(own.to_record()).id
    listed = api("list_masks", "tracer")
    assert [one["key"] for one in listed[:2]] == ["shipped", "shipped:tracer-seed1"]
    assert listed[-1]["key"] == key
    assert len(api("list_masks")) > len(listed)
    whole = api("get_mask", key)
    assert whole["name"] == "<b>mine</b>"
    assert np.array_equal(np.array(whole["kept_heads"]), own.kept)
    assert np.allclose(np.array(whole["scores"]), own.scores, atol=1e-7)
    again = api("get_mask", whole["link"])
    assert again["kept_heads"] == whole["kept_heads"]
    assert (again["sink"], again["recent"]) == (own.sink, own.recent)


@pytest.mark.parametrize(
    "key", ["", "nothing", "/etc", "examples/masks/tracer", "user/repo", None, 3]
)
def test_a_key_is_never_a_file_or_a_repository(api: Api, key: Any) -> None:
    assert "There is no mask" in api.refused("get_mask", key)


def test_memory_is_told_by_the_formula(api: Api) -> None:
    told = api("estimate_memory", "tracer", "shipped", 1000)
    mask = HeadMask.load(ROOT / "examples" / "masks" / "tracer")
    with api.studio.engines.lease("tracer") as (model, _):
        spec = model_spec(model)
    assert told["kv_bytes_full"] == spec.kv_bytes(HeadMask.full(4, 8), 1000)
    assert told["kv_bytes_compressed"] == spec.kv_bytes(mask, 1000)
    assert told["kv_saved"] == pytest.approx(mask.kv_saved(1000))
    assert told["sparsity"] == 0.5
    assert told["fits"] is True
    assert api("estimate_memory", "tracer")["kv_bytes_compressed"] is None
    twice = api("estimate_memory", "tracer", "shipped", 1000, -1, 2)
    assert twice["kv_bytes_full"] == 2 * told["kv_bytes_full"]
    smol = "shipped:smollm2-135m-repeat"
    assert "choose a mask learned on this model" in api.refused("estimate_memory", "tracer", smol)


def test_an_answer_is_streamed_and_both_sides_are_measured(api: Api) -> None:
    states = api("generate", PUZZLE, "shipped", "both", 0.5)
    *_, last = states
    assert last["done"]
    assert not any(one["done"] for one in states[:-1])
    full, compressed = last["sides"]
    assert (full["side"], compressed["side"]) == ("full", "compressed")
    assert full["text"].endswith("k=6")
    assert full["stop"] == "end"
    assert compressed["kv_bytes"] < full["kv_bytes"]
    assert full["agrees"] is None
    assert 0 < compressed["agrees"] <= compressed["tokens"]
    mask = HeadMask.load(ROOT / "examples" / "masks" / "tracer")
    for side, alone in (("full", full), ("compressed", compressed)):
        (one,) = api("generate", PUZZLE, mask.to_link(), side)[-1]["sides"]
        assert (one["text"], one["tokens"]) == (alone["text"], alone["tokens"])


def test_who_goes_away_ends_the_answer(api: Api) -> None:
    with api.studio.engines.lease("tracer"):
        pass
    answer = api._known["generate"](PUZZLE)
    next(answer)
    assert api.studio.engines.status("tracer").leases == 1
    answer.close()
    assert api.studio.engines.status("tracer").leases == 0


def test_jobs_are_started_once_a_key_looked_at_and_stopped(api: Api) -> None:
    job = api("start_training", {"steps": 3, "seed": 5}, "quick", "mine")
    assert (job["state"], job["steps"], job["kind"]) == ("queued", 3, "train")
    assert api("start_training", {"steps": 3, "seed": 5}, "quick", "mine")["id"] == job["id"]
    assert api("start_training", {"steps": 3, "seed": 5})["id"] != job["id"]
    found = api("start_evaluation", {"methods": ["learned"], "sparsities": [0.5]}, ["shipped"])
    assert [one["id"] for one in api("jobs", 1)] == [found["id"]]
    assert {one["kind"] for one in api("jobs", 50, "eval")} == {"eval"}
    whole = api("job", found["id"])
    assert whole["settings"]["masks"][0]["key"] == "shipped"
    assert "scores" not in whole["settings"]["masks"][0]
    assert whole["results"]["settings"] if "settings" in whole["results"] else whole["results"]
    assert api("job", job["id"])["settings"]["seed"] == 5
    assert api("stop_job", job["id"])["state"] == "cancelled"
    assert api("stop_job", job["id"])["state"] == "cancelled"


def test_the_masks_of_a_job_are_those_that_it_learned(api: Api) -> None:
    job = create(heavy("rlkv.training.config").make_config({}), api.studio.db)
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, model="tracer")
    assert job_view._links(api.studio, job) == ""
    learned = api.studio.masks.save(mask.to_record(), job_id=job.id).id
    noted = {catalogue.MADE_FROM: {"name": mask.name, "key": learned}}
    edited = replace(mask.toggle(0, 0), info=noted)
    api.studio.masks.save(edited.to_record(), job_id=job.id, parent_id=learned)
    assert api("job", job.id)["masks"] == [learned]
    assert f"./heads?mask={learned}" in job_view._links(api.studio, job)


def test_a_public_copy_gives_scripts_no_more_rights_than_visitors(
    api: Api, public_copy: Api
) -> None:
    job = create(heavy("rlkv.training.config").make_config({}), api.studio.db)
    assert "switched off" in public_copy.refused("start_training", {"steps": 1})
    assert "switched off" in public_copy.refused("start_evaluation", {})
    assert "switched off" in public_copy.refused("stop_job", job.id)
    assert public_copy("job", job.id)["state"] == "queued"
    assert len(public_copy("jobs")) == 1
    for name, given in (
        ("estimate_memory", ("org/other",)),
        ("generate", ("hello", "shipped", "full", -1, "org/other")),
        ("generate", ("hello", "shipped:smollm2-135m-repeat")),
    ):
        assert "embedded model only" in public_copy.refused(name, *given)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("generate", (PUZZLE, "shipped", "three"), "sides has to be one of"),
        ("generate", (PUZZLE, "shipped", []), "sides has to be one of"),
        ("generate", ("\ud800", "shipped"), "half of a character"),
        ("generate", (PUZZLE, "shipped", "both", 1.5), "sparsity has to be a number from 0 to 1"),
        ("generate", (PUZZLE, "shipped", "both", float("nan")), "sparsity has to be"),
        ("generate", ("", "shipped"), "Write a question"),
        ("generate", ("x" * 5000, "shipped"), "too long"),
        ("generate", (PUZZLE, "shipped", "both", -1, "", 10**9), "max_new_tokens has to be"),
        ("generate", (PUZZLE, "shipped", "both", -1, "", "many"), "max_new_tokens has to be"),
        ("estimate_memory", ("tracer", "", 0), "length has to be"),
        ("estimate_memory", ("no such model",), "There is no model"),
        ("start_training", ({"steps": 0},), "Steps"),
        ("start_training", ({"nonsense": 1},), "nonsense"),
        ("start_training", ({"task": "x" * 10**6},), "Task: string should have at most 5000"),
        ("start_evaluation", ({"task": "x" * 10**6},), "Task: string should have at most 5000"),
        ("start_training", ({"task": "/etc/passwd"},), "There is no task '/etc/passwd'"),
        ("start_evaluation", ({"task": "tracking"},), "Did you mean tracing"),
        ("start_training", ("steps",), "settings has to be an object"),
        ("start_training", ({}, "slow"), "no preset 'slow'"),
        ("start_evaluation", ({"methods": ["magic"]},), "Methods"),
        ("start_evaluation", ({"masks": []},), "Name the masks in masks"),
        ("start_evaluation", ({}, ["gone"]), "There is no mask 'gone'"),
        ("start_evaluation", ({}, 5), "masks has to be a list"),
        ("get_mask", ("a\udc00",), "half of a character"),
        ("start_training", ({"seed": 1}, "quick", "\ud800"), "half of a character"),
        ("job", ("nothing",), "nothing"),
        ("jobs", (0,), "limit has to be"),
        ("jobs", (10, "other"), "kind has to be"),
        ("stop_job", (None,), "None"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_start_nothing(
    api: Api, name: str, given: tuple[Any, ...], words: str
) -> None:
    refused = api.refused(name, *given)
    assert words in refused
    assert len(refused) < 1000  # what was given is not given back whole
    assert api("jobs") == []


def test_an_mcp_server_is_only_there_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RLKV_MCP", raising=False)
    assert shell.launch_options(tmp_path)["mcp_server"] is False
    monkeypatch.setenv("RLKV_MCP", "1")
    for there, wanted in ((None, False), (object(), True)):
        monkeypatch.setattr("ui.api.tools.find_spec", lambda name, there=there: there)
        assert shell.launch_options(tmp_path)["mcp_server"] is wanted
