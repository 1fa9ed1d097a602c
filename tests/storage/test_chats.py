import pytest

from storage.chats import Chats
from storage.database import Database
from storage.errors import StorageError


@pytest.fixture
def chats(db: Database) -> Chats:
    return Chats(db)


def test_a_conversation_comes_back_in_order(chats: Chats) -> None:
    chat = chats.create("tracer", "a=3; ?a", {"sparsity": 0.5})
    question = chats.add_message(chat.id, "user", "a=3; ?a")
    full = chats.add_message(chat.id, "assistant", "3", "full", {"kv_bytes": 900})
    compressed = chats.add_message(chat.id, "assistant", "3", "compressed", {"kv_bytes": 400})

    read = chats.get(chat.id)

    assert read.messages == (question, full, compressed)
    assert (read.model, read.title, read.settings) == ("tracer", "a=3; ?a", {"sparsity": 0.5})
    assert read.messages[0].side is None
    assert read.messages[2].stats == {"kv_bytes": 400}
    assert read.updated_at == compressed.created_at


def test_the_last_used_is_listed_first(chats: Chats) -> None:
    first, second = chats.create("tracer", "one"), chats.create("tracer", "two")
    chats.add_message(first.id, "user", "more")

    assert [chat.id for chat in chats.list()] == [first.id, second.id]
    assert [chat.messages for chat in chats.list(limit=1)] == [()]


def test_a_deleted_conversation_takes_its_messages_along(chats: Chats, db: Database) -> None:
    chat = chats.create("tracer", "one")
    chats.add_message(chat.id, "user", "hello")

    chats.delete(chat.id)

    assert chats.list() == []
    assert db.check() == []
    with pytest.raises(StorageError, match="no chat"):
        chats.add_message(chat.id, "user", "hello?")
    with pytest.raises(StorageError, match="no chat"):
        chats.get(chat.id)
