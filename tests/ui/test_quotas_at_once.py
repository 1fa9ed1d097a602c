"""Quotas hold though many come at the same moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from storage.errors import StorageError
from storage.masks import Masks
from tests.ui.test_quotas import COOKIE, asked_by, start
from ui.quotas import Quotas
from ui.starting import starting
from ui.studio import Settings, Studio

AT_ONCE = 12


def at_once(act: Callable[[int], None]) -> list[str]:
    """What was said to those who were refused, of many who act at the same moment."""
    gate, refused = threading.Barrier(AT_ONCE), SimpleQueue[str]()

    def run(n: int) -> None:
        gate.wait(20)
        try:
            act(n)
        except (UserError, StorageError) as error:
            refused.put(str(error))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [refused.get() for _ in range(refused.qsize())]


def test_of_many_at_once_none_slips_past_the_count_of_an_address(tmp_path: Path) -> None:
    quotas = Quotas(jobs_a_day=3, masks_a_day=4)
    studio = Studio.open(Settings(shared=True, quotas=quotas, data_dir=tmp_path))
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=1, model="tracer")
    begun = SimpleQueue[int]()

    def slowly(n: int) -> None:  # ever new visitors of one address
        with asked_by(session=str(n)), starting(studio, "tracer", "tracing"):
            begun.put(n)
            time.sleep(0.5)

    def keep(n: int) -> None:
        with asked_by(session=str(n)):
            studio.keep_mask(mask)

    said = at_once(slowly)
    assert (begun.qsize(), len(said)) == (3, AT_ONCE - 3)
    assert all("3 jobs were started" in words for words in said)
    assert len(at_once(keep)) == AT_ONCE - 4
    assert len(Masks(studio.db).list()) == 4
    studio.db.close()


def test_of_many_at_once_none_slips_past_the_count_of_a_visitor(tmp_path: Path) -> None:
    quotas = Quotas(masks=2, chats=3, active_jobs=1, jobs_a_day=99, masks_a_day=99)
    studio = Studio.open(Settings(shared=True, quotas=quotas, data_dir=tmp_path))
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=1, model="tracer")

    def as_ann(act: Callable[[], object]) -> list[str]:
        def run(_: int) -> None:
            with asked_by(COOKIE):
                act()

        return at_once(run)

    assert len(as_ann(lambda: studio.keep_mask(mask))) == AT_ONCE - 2
    assert len(as_ann(lambda: studio.chats.create("tracer", "c"))) == AT_ONCE - 3
    assert len(as_ann(lambda: start(studio))) == AT_ONCE - 1
    with asked_by(COOKIE):
        assert len(studio.chats.list()) == 3
        assert len(studio.jobs.list()) == 1
    assert len(Masks(studio.db).list()) == 2
    studio.db.close()
