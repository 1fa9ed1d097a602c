"""On whose behalf the Hub is asked: a visitor of a shared copy never with its owner's token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from rlkv.errors import UserError
from rlkv.mask_files import TSV
from rlkv.masks import HeadMask
from tests.rlkv.hub_client import use
from tests.rlkv.hub_stand_in import HubStandIn, hub
from ui.library.importing import Pending
from ui.mask_figures import size_of
from ui.sharing.browsing import loaded_model, with_repo
from ui.studio import Settings, Studio

OWNERS = "hf_theOwnersTokenAmongTheSecrets"
VISITORS = "hf_aVisitorsOwnToken"
SECRET = "owner/secret"
Look = Callable[..., Pending]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[HubStandIn]]:
    """Has a private mask of the owner's, whose token is in the environment."""
    with hub({OWNERS: "owner", VISITORS: "visitor"}) as (endpoint, handler):
        use(monkeypatch, endpoint, tmp_path / "hf")
        mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, model="tracer", name="secret")
        mask.push_to_hub(SECRET, token=OWNERS, private=True)
        handler.asked.clear()
        monkeypatch.setenv("HF_TOKEN", OWNERS)
        yield handler
    huggingface_hub.close_session()


@pytest.fixture
def look(tmp_path: Path) -> Iterator[Look]:
    """Presses "Look at it" with somebody's token; what the page then waits with."""
    studio = Studio.open(Settings(data_dir=tmp_path / "data"))

    def pressed(settings: Settings, token: str | None, repo: str = SECRET) -> Pending:
        signed_in: Any = SimpleNamespace(token=token) if token else None
        return with_repo(Studio(settings, studio.db), (), repo, signed_in)

    yield pressed
    studio.db.close()


def test_the_owners_token_opens_nothing_to_visitors(stand_in: type[HubStandIn], look: Look) -> None:
    with pytest.raises(UserError, match="can't be read"):
        look(Settings(shared=True), None)
    assert stand_in.asked
    assert {who for _, who in stand_in.asked} == {None}
    stand_in.asked.clear()
    with pytest.raises(UserError, match="can't be read"):
        look(Settings(shared=True), VISITORS)
    assert {who for _, who in stand_in.asked} == {f"Bearer {VISITORS}"}


def test_a_table_alone_is_called_by_its_repository(stand_in: type[HubStandIn], look: Look) -> None:
    stand_in.repos["owner/tables"] = {TSV: b"1.0\t0.5\n0.25\t0.0\n"}
    (waiting,) = look(Settings(), None, "owner/tables")
    assert waiting.found is not None
    assert waiting.found.mask.name == "tables"


def test_what_the_owner_fetched_is_not_shown_to_visitors_when_the_hub_is_away(
    stand_in: type[HubStandIn], look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    (waiting,) = look(Settings(), None)  # at home the token of the environment counts
    assert waiting.found is not None
    assert waiting.found.mask.name == "secret"
    with pytest.raises(UserError, match="can't be read"):  # it is in the cache now
        look(Settings(shared=True), None)
    monkeypatch.setenv("RLKV_OFFLINE", "1")
    assert len(look(Settings(), None)) == 1
    for token in (None, VISITORS):
        with pytest.raises(UserError, match="work offline"):
            look(Settings(shared=True), token)


def test_the_model_that_a_mask_names_is_not_looked_up_for_visitors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its configuration would be read with the owner's token, or from the owner's disk."""
    looked_up: list[str] = []
    monkeypatch.setattr("ui.mask_figures.spec", looked_up.append)
    monkeypatch.setenv("RLKV_SHARED", "1")
    monkeypatch.setenv("RLKV_MODELS", "org/offered")
    for model in (SECRET, "/home/owner/model", "tracer", "org/offered"):
        assert size_of(HeadMask.full(4, 8, model=model)) is None
    assert looked_up == ["tracer", "org/offered"]
    monkeypatch.delenv("RLKV_SHARED")
    size_of(HeadMask.full(4, 8, model=SECRET))
    assert looked_up[2:] == [SECRET]


def test_browsing_begins_at_the_model_that_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Studio.open(Settings(data_dir=tmp_path))
    assert loaded_model(home) == "tracer"
    monkeypatch.setattr("ui.engines.Engines.in_memory", lambda _: ["org/first", "org/last"])
    assert loaded_model(home) == "org/last"
    assert (
        loaded_model(Studio(Settings(shared=True, models=("org/first",)), home.db)) == "org/first"
    )
    home.db.close()
