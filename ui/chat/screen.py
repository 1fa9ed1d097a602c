"""What one visitor of the chat page has open, and how it is shown. Knows no events."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlkv.errors import UserError
from storage.errors import StorageError
from ui.chat import recorded, transcript
from ui.chat.blind import concealed
from ui.chat.kept import Kept, Node
from ui.chat.running import Run
from ui.engine import MODEL
from ui.models.facts import facts_of
from ui.studio import Studio

_SECRET = secrets.token_bytes(32)


@dataclass(frozen=True)
class Screen:
    """The open conversation: a kept one, or one that ships with the app."""

    chat: str | None = None
    recording: str | None = None
    run: str | None = None
    """Token of the answer that this page waits for."""


@dataclass(frozen=True)
class Desk:
    """What the page's events share."""

    studio: Studio

    @property
    def kept(self) -> Kept:
        """What whoever asks has kept; to be had anew by every event."""
        return Kept(self.studio.chats, self.studio.votes)

    def branch(self, screen: Screen) -> Sequence[Node]:
        """The open branch, from the first question on."""
        if screen.recording is not None:
            return recorded.nodes(screen.recording)
        return self.kept.branch(screen.chat) if screen.chat else ()

    def show(self, screen: Screen, run: Run | None = None) -> dict[str, Any]:
        """The value of the transcript."""
        turns = transcript.turns(self.branch(screen))
        if run is not None:
            turns = [*self._before(turns, run), pending(run)]
        chat = self.kept.chat(screen.chat) if screen.chat else None
        own = screen.chat or screen.recording or ""
        if screen.recording is not None:
            turns = [{**turn, "fixed": True} for turn in turns]
        return {
            "key": signed(own),
            "chat": {"id": own, "title": chat.title if chat else ""} if own else None,
            # Asked only with turns to show: it brings torch in, which would slow the app's start.
            "model": model_facts(_model(self, screen, run)) if turns else {"name": MODEL},
            "turns": turns,
            "run": run.token if run else None,
            "recorded": recorded.offered() if not turns else [],
            "autoplay": screen.recording,
        }

    def _before(self, turns: list[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
        """The turns that stand before the one being written."""
        ids = [turn["answer"]["id"] for turn in turns]
        parent = run.plan.parent
        return turns[: ids.index(parent) + 1] if parent in ids else []

    def columns(self, asked: object) -> dict[str, Any]:
        """The tokens of answers, by their id: called by the browser, so nothing is trusted."""
        data = asked if isinstance(asked, dict) else {}
        own, ids = str(data.get("chat") or ""), data.get("ids")
        key = str(data.get("key")).encode(errors="replace")
        if not own or not hmac.compare_digest(signed(own).encode(), key):
            return {}
        wanted = {i for i in ids if isinstance(i, int)} if isinstance(ids, list) else set()
        if own in recorded.names():
            nodes = tuple(node for node in recorded.nodes(own) if node.id in wanted)
        else:
            try:
                nodes = self.kept.answers(own, sorted(wanted)[:200])
            except StorageError:  # deleted, or a visitor's whose key another one sent
                return {}
        return {str(node.id): transcript.tokens_of(node) for node in nodes}

    def listed(self, screen: Screen) -> dict[str, Any]:
        """The value of the list of conversations."""
        chats = [
            {
                "id": chat.id,
                "title": chat.title,
                "model": chat.model.rpartition("/")[2],
                "at": chat.updated_at,
                "note": "imported" if chat.source == "imported" else "",
            }
            for chat in self.kept.list()
        ]
        return {"chats": chats, "open": screen.chat}


def _model(desk: Desk, screen: Screen, run: Run | None) -> str:
    """The model that wrote, or writes, the latest answer on screen."""
    if run is not None:
        return run.plan.settings.model
    branch = desk.branch(screen)
    return str(branch[-1].answer.get("model") or MODEL) if branch else MODEL


def pending(run: Run) -> dict[str, Any]:
    """The turn that is being written, as far as it is known before the first token."""
    sides = [{**side, "breaks": [], "now": {}} for side in run.sides]
    if run.order is not None:
        sides = concealed(sides, run.order)
    asked = run.plan.asked
    return {
        "user": {"id": asked, "text": run.plan.question, "ids": [asked] if asked else []},
        "answer": None,
        "run": run.token,
        "words": "",
        "blind": {"open": True, "words": ""} if run.order is not None else None,
        "sides": sides,
    }


def model_facts(model: str) -> dict[str, Any]:
    """What the widgets say of a model: its name, and the bytes of its weights where known."""
    try:
        facts = facts_of(model)
    except UserError:
        facts = None
    return {"name": model, "weights": facts.weights if facts else None}


def signed(chat: str) -> str:
    """What the page shows to read the tokens of a conversation that it was given."""
    return hmac.new(_SECRET, chat.encode(errors="replace"), hashlib.sha256).hexdigest()
