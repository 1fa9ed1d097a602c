"""Head masks on the Hub for one model."""

from __future__ import annotations

import time
from dataclasses import dataclass

from huggingface_hub import HfApi

from rlkv.errors import UserError
from rlkv.hub.names import KIND, REPO, model_tag
from rlkv.hub.reaching import TIMEOUT_S, require_reachable, within
from rlkv.hub.refusals import explained

MOST = 50


@dataclass(frozen=True)
class HubMask:
    """A mask's repository, as the Hub lists it. Its words are its owner's: escape them."""

    repo: str
    private: bool
    likes: int
    downloads: int
    modified: float | None
    """Seconds since 1970."""


def browse(model: str, *, token: str | None = None, search: str = "") -> list[HubMask]:
    """Masks for `model`, the newest first, found by their tags; an answer within `TIMEOUT_S`.

    Raises:
        UserError: without a network, or if the Hub refuses.
    """
    try:
        return within(TIMEOUT_S, lambda: _listed(model, token, search))
    except TimeoutError:
        raise UserError(
            f"The Hub did not answer within {TIMEOUT_S:g} s: check the network, then try again."
        ) from None


def _listed(model: str, token: str | None, search: str) -> list[HubMask]:
    require_reachable("The Hub's list of masks")
    # False: a stored token is nobody's on a page that others may open.
    api = HfApi(token=token or False)
    with explained("The Hub's masks can't be listed", token):
        found = api.list_models(
            filter=[*KIND, model_tag(model)],
            search=search.strip()[:100] or None,
            sort="last_modified",
            limit=MOST,
            full=True,
        )
        return [
            HubMask(
                repo=one.id,
                private=bool(one.private),
                likes=one.likes or 0,
                downloads=one.downloads or 0,
                modified=one.last_modified.timestamp() if one.last_modified else None,
            )
            for one in found
            if REPO.fullmatch(one.id)
        ]


def changed_on(mask: HubMask) -> str:
    """When it was last changed, as a date; "" where the Hub does not say."""
    return "" if mask.modified is None else time.strftime("%d %b %Y", time.gmtime(mask.modified))
