"""Which models a visitor may have loaded or looked at."""

from __future__ import annotations

from rlkv.errors import UserError
from ui.engine import MODEL
from ui.studio import Studio


def require_allowed(studio: Studio, model: str) -> None:
    """Checked inside each action: a hidden button does not stop a request.

    Raises:
        UserError: on a public copy for other models than the embedded one.
    """
    if model != MODEL and not studio.settings.any_model:
        raise UserError(
            "This public copy measures on its embedded model only. Run the app on your own "
            "machine to use other models."
        )
