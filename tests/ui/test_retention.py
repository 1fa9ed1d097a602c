"""Who was there, how often that is noted, and what goes when nobody comes back."""

import threading
import time
from pathlib import Path

import pytest

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks
from storage.schema import MaskTable, VisitorTable
from tests.ui.test_quotas import COOKIE, asked_by, who
from ui.retention import Seen, forget_daily
from ui.studio import Settings, Studio

ANN, BOB, EVE = "a" * 32, "b" * 32, "e" * 32
MASK = HeadMask.random(4, 8, sparsity=0.5, seed=1, model="tracer").to_record()


def test_a_visit_keeps_what_a_visitor_has(tmp_path: Path) -> None:
    studio = Studio.open(Settings(shared=True, data_dir=tmp_path))
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=1, model="tracer")
    with asked_by(COOKIE):
        studio.masks.save(mask.to_record())
        fresh = Studio(studio.settings, studio.db)  # the app, started again on another day
        fresh.masks.list()
    with asked_by("d" * 40):
        fresh.masks.list()
    with studio.db.read() as session:
        assert [row.id for row in session.query(VisitorTable)] == [who(COOKIE)]
    studio.db.close()


def test_old_data_goes_when_the_app_starts(tmp_path: Path) -> None:
    db = open_database(tmp_path)
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=1, model="tracer").to_record()
    kept = [Masks(db, owner).save(mask).id for owner in ("a" * 32, None)]
    with db.write() as session:
        for row in session.query(MaskTable):
            row.created_at -= 3 * 86_400
    ended = forget_daily(tmp_path, 2, visitors=True)
    end = time.monotonic() + 20
    while [row.id for row in Masks(db).list()] != kept[1:]:
        assert time.monotonic() < end
        time.sleep(0.02)
    ended.set()
    for thread in threading.enumerate():
        if thread.name == "retention":
            thread.join(20)
    db.close()


def test_a_visit_is_noted_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = open_database(tmp_path)
    Masks(db, ANN).save(MASK)
    now = [0.0]
    monkeypatch.setattr("ui.retention.time.monotonic", lambda: now[0])

    def noted_at(hours: float) -> bool:
        """Whether a visit so many hours after the start is written down."""
        now[0] = hours * 3600
        with db.write() as session:
            session.query(VisitorTable).update({"seen_at": 0.0})
        seen.note(ANN)
        with db.read() as session:
            return session.query(VisitorTable).one().seen_at > 0

    seen = Seen(db)
    assert noted_at(0)
    assert not noted_at(1)
    assert not noted_at(23.9)
    assert noted_at(24)
    assert not noted_at(47)
    db.close()


def test_visitors_beyond_those_remembered_are_noted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.retention.MOST", 2)
    db = open_database(tmp_path)
    for owner in (ANN, BOB, EVE):
        Masks(db, owner).save(MASK)
    seen = Seen(db)
    for visitor in (ANN, BOB, EVE):
        seen.note(visitor)
    with db.write() as session:
        session.query(VisitorTable).update({"seen_at": 0.0})
    seen.note(EVE)  # remembered, as BOB
    seen.note(ANN)
    with db.read() as session:
        rows = session.query(VisitorTable)
        assert [row.id for row in rows if row.seen_at > 0] == [ANN]
    db.close()
