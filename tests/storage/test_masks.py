from typing import Any

import pytest

from storage.database import Database
from storage.errors import StorageError
from storage.jobs import Job
from storage.masks import Masks


@pytest.fixture
def masks(db: Database) -> Masks:
    return Masks(db)


def test_a_mask_comes_back_as_it_was(masks: Masks, job: Job, record: dict[str, Any]) -> None:
    saved = masks.save(record, job_id=job.id)

    assert masks.get(saved.id) == saved
    assert saved.to_record() == record
    assert (saved.job_id, saved.parent_id) == (job.id, None)


def test_lists_are_newest_first_and_by_model(masks: Masks, record: dict[str, Any]) -> None:
    first, second = masks.save(record), masks.save(record | {"model": "other"})

    assert [mask.id for mask in masks.list()] == [second.id, first.id]
    assert [mask.id for mask in masks.list(model="tracer")] == [first.id]
    assert masks.list(model="unknown") == []


def test_a_mask_is_renamed_but_not_to_nothing(masks: Masks, record: dict[str, Any]) -> None:
    saved = masks.save(record)

    assert masks.rename(saved.id, " third ").name == "third"
    assert masks.get(saved.id).name == "third"
    with pytest.raises(StorageError, match="needs a name"):
        masks.rename(saved.id, "  ")


def test_a_mask_outlives_the_one_it_was_made_from(masks: Masks, record: dict[str, Any]) -> None:
    parent = masks.save(record)
    child = masks.save(record, parent_id=parent.id)
    assert child.parent_id == parent.id

    masks.delete(parent.id)
    assert masks.get(child.id).parent_id == parent.id  # it can still come back
    masks.forget(parent.id)

    assert masks.get(child.id).parent_id is None


def test_a_deleted_mask_is_nowhere_and_comes_back_whole(
    masks: Masks, record: dict[str, Any]
) -> None:
    saved, other = masks.save(record), masks.save(record)

    masks.delete(saved.id)
    assert [mask.id for mask in masks.list()] == [other.id]
    assert [mask.id for mask in masks.deleted()] == [saved.id]
    for action in (masks.get, masks.delete):
        with pytest.raises(StorageError, match="may have been deleted"):
            action(saved.id)
    with pytest.raises(StorageError, match="may have been deleted"):
        masks.rename(saved.id, "x")

    assert masks.restore(saved.id) == saved
    assert masks.get(saved.id) == saved
    assert masks.deleted() == []


def test_only_a_deleted_mask_is_removed_for_good(masks: Masks, record: dict[str, Any]) -> None:
    saved = masks.save(record)
    with pytest.raises(StorageError, match="Only a deleted mask"):
        masks.forget(saved.id)
    masks.delete(saved.id)
    masks.forget(saved.id)
    assert masks.deleted() == []
    with pytest.raises(StorageError, match="no mask"):
        masks.restore(saved.id)


def test_an_unknown_mask_is_told(masks: Masks) -> None:
    for action in (masks.get, masks.delete):
        with pytest.raises(StorageError, match="no mask nobody"):
            action("nobody")
    with pytest.raises(StorageError, match="no mask nobody"):
        masks.rename("nobody", "name")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scores": bytes(5)}, "2 x 3"),
        ({"kept": bytes(5)}, "2 x 3"),
        ({"owner": "me"}, "look at: owner"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    masks: Masks, record: dict[str, Any], change: dict[str, Any], told: str
) -> None:
    with pytest.raises(StorageError, match=told):
        masks.save(record | change)
    assert masks.list() == []
