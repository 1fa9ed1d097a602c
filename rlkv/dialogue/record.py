"""The record of a conversation: what is kept, exported, imported, and replayed without a model.

`Conversation` is the format, version 1. A file is taken for hostile: sizes, types and the tree of
messages are checked before anything is used, and what the format does not know is dropped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlkv.errors import UserError

VERSION = 1
MOST_BYTES = 64 * 2**20
MOST_MESSAGES, MOST_SIDES, MOST_TOKENS = 2_000, 4, 200_000
MOST_TEXT, MOST_LABEL = 4_000_000, 1_000

Text = Annotated[str, Field(max_length=MOST_TEXT)]
Label = Annotated[str, Field(max_length=MOST_LABEL)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


_Many = Field(max_length=MOST_TOKENS)


class Columns(_Part):
    """The tokens of one side, one list a quantity; each empty or one entry a token."""

    t: Annotated[list[Label], _Many] = []
    """Text that the token added."""
    p: Annotated[list[Share], _Many] = []
    """Its probability under this side, at temperature 1."""
    k: Annotated[list[Amount | None], _Many] = []
    """KL(first side || this side) in nats, null where both had not read the same."""
    b: Annotated[list[Count], _Many] = []
    """KV bytes measured."""
    f: Annotated[list[Count], _Many] = []
    """KV bytes by the formula."""
    l: Annotated[list[Count], _Many] = []  # noqa: E741 - as the browser reads it
    """Tokens in the cache."""
    at: Annotated[list[Amount], _Many] = []
    """Seconds since the answer was begun."""

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        for name in type(self).model_fields:
            if len(getattr(self, name)) not in (0, len(self.t)):
                raise ValueError(f"column {name} has another length than the texts")
        return self


class Mask(_Part):
    """Which mask answered."""

    name: Label = ""
    model: Label = ""
    sparsity: Share = 0.0
    sink: Count = 0
    recent: Count = 1
    n_kept: Count = 0
    heads: Count = 0


class Figures(_Part):
    """What the engine reported of a side at the end; `rlkv.dialogue.SideState`."""

    tokens: Count = 0
    prompt: Count = 0
    reused: Count = 0
    length: Count = 0
    bytes: Count = 0
    formula: Count = 0
    first: Amount = 0.0
    seconds: Amount = 0.0
    speed: Amount = 0.0
    stop: Literal["end", "length", "repetition", "stopped", "memory"] | None = None
    right: bool | None = None
    """Whether the answer is right, where that could be known."""


class Cut(_Part):
    """A change of mask during the answer."""

    at: Count
    length: Count
    seconds: Amount = 0.0
    words: Label = ""


class Parting(_Part):
    """The first differing token; `rlkv.dialogue.Difference`."""

    at: Count
    tokens: Annotated[list[Label | None], Field(min_length=2, max_length=2)]
    ids: Annotated[list[Count | None], Field(min_length=2, max_length=2)] = [None, None]
    p: Annotated[list[list[Share | None]], Field(min_length=2, max_length=2)] | None = None


class Side(_Part):
    """One side's answer."""

    slot: Annotated[int, Field(ge=0, lt=MOST_SIDES)] = 0
    role: Label = ""
    name: Label = ""
    hint: Label = ""
    mask: Mask | None = None
    text: Text
    opening: Label = ""
    """What of the text the prompt had opened."""
    cols: Columns = Columns()
    now: Figures = Figures()
    read: Annotated[list[Annotated[list[Count], Field(min_length=2, max_length=2)]], _Many] = []
    """Tokens in the cache and KV bytes measured, while the prompt was read."""
    breaks: Annotated[list[Cut], _Many] = []
    prefix: Count | None = None
    """Tokens in common with the first side."""
    diff: Parting | None = None


class Answer(_Part):
    """All sides' answers to one question."""

    sides: Annotated[list[Side], Field(min_length=1, max_length=MOST_SIDES)]
    run: Label = ""
    model: Label = ""
    words: Label = ""
    system: Text = ""
    sampling: dict[Label, Count | Amount] = {}
    order: list[int] | None = None
    """Of a blind comparison: which side was shown as A, which as B."""
    vote: Literal["a", "b", "tie", "skip"] | None = None

    @model_validator(mode="after")
    def _order_of_two(self) -> Self:
        if self.order is not None and (
            len(self.sides) != len(self.order) or sorted(self.order) != list(range(len(self.order)))
        ):
            raise ValueError("the order of a blind comparison is not one of its sides")
        return self


class Said(_Part):
    """A question, or an answer."""

    id: Count
    parent: Count | None = None
    role: Literal["user", "assistant"]
    text: Text = ""
    answer: Answer | None = None


class Conversation(_Part):
    """A tree of messages; parents stand before their children."""

    rlkv_chat: Literal[1]
    title: Label = ""
    model: Label = ""
    created_at: Amount = 0.0
    leaf: Count | None = None
    """The last message of the branch that was open."""
    messages: Annotated[list[Said], Field(min_length=1, max_length=MOST_MESSAGES)]

    @model_validator(mode="after")
    def _a_tree(self) -> Self:
        roles: dict[int | None, str] = {None: "assistant"}  # questions begin
        for one in self.messages:
            if one.id in roles:
                raise ValueError(f"message {one.id} is there twice")
            if one.parent not in roles:
                raise ValueError(f"message {one.id} follows one that does not stand before it")
            if roles[one.parent] == one.role:
                raise ValueError(f"message {one.id} breaks the turns of questions and answers")
            if (one.role == "assistant") != (one.answer is not None):
                raise ValueError(f"message {one.id} has to have an answer if it is one")
            roles[one.id] = one.role
        if self.leaf not in roles:
            raise ValueError("the open branch ends in a message that is not there")
        return self


def checked(record: Any) -> dict[str, Any]:
    """A record as plain values, with what is known of it and nothing else.

    Raises:
        UserError: in one line, what is wrong with it.
    """
    version = record.get("rlkv_chat") if isinstance(record, dict) else None
    if version is None:
        raise UserError("That is no conversation of this app: choose a JSON file that it exported.")
    if isinstance(version, int) and version > VERSION:
        raise UserError(
            f"That conversation is of format {version}, this version of the app reads up to "
            f"{VERSION}: update the app."
        )
    try:
        return Conversation.model_validate(record).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        what = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"The conversation can't be read: {where}: {what}. Export it again."
        ) from error


def branch(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of the open branch of a checked record, from the first question on."""
    found = {one["id"]: one for one in record["messages"]}
    at = record.get("leaf")
    at = record["messages"][-1]["id"] if at is None else at
    messages: list[dict[str, Any]] = []
    while at is not None:
        messages.append(found[at])
        at = found[at].get("parent")
    return messages[::-1]
