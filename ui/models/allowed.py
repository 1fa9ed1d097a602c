"""Which models a visitor may have loaded or looked at."""

from __future__ import annotations

from rlkv.errors import UserError
from ui.studio import Studio


def require_allowed(studio: Studio, model: str) -> None:
    """Checked inside each action: a hidden button does not stop a request.

    Raises:
        UserError: on a shared copy for other models than those that its owner offers.
    """
    if studio.settings.allows(model):
        return
    offered = studio.settings.models
    which = f"its embedded model and {', '.join(offered)}" if offered else "its embedded model only"
    raise UserError(
        f"This public copy works with {which}. Run the app on your own machine to use other models."
    )
