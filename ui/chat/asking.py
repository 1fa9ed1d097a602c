"""From a press of a button to a plan in line: Send, an edited question, Regenerate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlkv.errors import UserError
from ui.chat import blind, sides, transcript
from ui.chat.kept import Node
from ui.chat.plan import Plan, Settings, question_of, settings_of
from ui.chat.reach import beyond
from ui.chat.running import Run, Runs
from ui.chat.screen import Desk, Screen
from ui.engine import MODEL
from ui.models.allowed import require_allowed
from ui.models.facts import facts_of

BUSY = "The last question is still being answered."
VOTE_FIRST = "Vote first, or show the sides without a vote."


class Asking:
    """Makes runs out of what the page says."""

    def __init__(self, desk: Desk, runs: Runs) -> None:
        self._desk, self._runs = desk, runs

    def send(self, screen: Screen, text: Any, fields: Sequence[Any], session: str) -> Run:
        """A new question at the end of the open branch; in a new conversation where none is.

        Raises:
            UserError: saying what can't be.
        """
        settings = self._settings(fields)
        # What ships with the app stays as it is: a question begins a conversation of one's own.
        branch = [] if screen.recording else self._desk.branch(screen)
        parent = branch[-1].id if branch else None
        plan = Plan(
            settings, self._question(text, settings.model), screen.chat, parent,
            earlier=transcript.earlier(branch),
        )  # fmt: skip
        self._require_decided(branch)
        return self._begin(plan, session)

    def edit(
        self, screen: Screen, data: dict[str, Any], fields: Sequence[Any], session: str
    ) -> Run:
        """Another question in the place of one; both are kept.

        Raises:
            UserError: saying what can't be.
        """
        return self._instead(screen, data, fields, session, repeat=False)

    def again(
        self, screen: Screen, data: dict[str, Any], fields: Sequence[Any], session: str
    ) -> Run:
        """The same question once more, under the settings as they are now.

        Raises:
            UserError: saying what can't be.
        """
        return self._instead(screen, data, fields, session, repeat=True)

    def _instead(
        self,
        screen: Screen,
        data: dict[str, Any],
        fields: Sequence[Any],
        session: str,
        *,
        repeat: bool,
    ) -> Run:
        settings = self._settings(fields)
        before, asked = self._at(screen, data)
        text = asked.text if repeat else data.get("text")
        plan = Plan(
            settings, self._question(text, settings.model), screen.chat, asked.parent,
            asked.id if repeat else None, earlier=transcript.earlier(before),
        )  # fmt: skip
        return self._begin(plan, session)

    def _settings(self, fields: Sequence[Any]) -> Settings:
        model = str(fields[0] or "").strip()[:500] or MODEL
        require_allowed(self._desk.studio, model)
        most = self._desk.studio.settings.longest_answer
        return settings_of(model, fields[1], fields[2:14], fields[14:], most)

    def _question(self, text: Any, model: str) -> str:
        studio = self._desk.studio
        return question_of(text, model, studio.settings.longest_prompt, beyond(studio, model))

    def _at(self, screen: Screen, data: dict[str, Any]) -> tuple[list[Node], Node]:
        """The branch before a question that is on screen, and the question."""
        branch = list(self._desk.branch(screen)) if screen.chat else []
        for place, node in enumerate(branch):
            if node.role == "user" and node.id == data.get("message"):
                return branch[:place], node
        raise UserError("That question is not there any more: open the conversation again.")

    def _require_decided(self, branch: Sequence[Node]) -> None:
        if branch and branch[-1].answer.get("order") and branch[-1].answer.get("vote") is None:
            raise UserError(VOTE_FIRST)

    def _begin(self, plan: Plan, session: str) -> Run:
        settings = plan.settings
        self._desk.studio.require_model_time()
        if plan.chat is None:
            self._desk.kept.require_room()
        try:
            facts = facts_of(settings.model)
        except UserError:
            facts = None  # loading says why
        if facts is not None:
            shape = (facts.layers, facts.kv_heads)
            masks = [
                sides.mask_of(self._desk.studio, one, shape, settings.model)
                for one in settings.sides
            ]
            said = sides.facts(masks, settings.slots, [one.key for one in settings.sides])
        else:
            said = sides.unknown_facts(self._desk.studio, settings.sides, settings.slots)
        run = self._runs.begin(session, said, plan, blind.shuffled() if settings.blind else None)
        if run is None:
            raise UserError(BUSY)
        return run
