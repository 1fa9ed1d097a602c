"""On whose behalf the Hub is asked. Tokens are handed on and never kept, logged or shown."""

from __future__ import annotations

from importlib.util import find_spec

import gradio as gr
from gradio.components import LoginButton
from huggingface_hub import get_token

from rlkv.errors import UserError
from ui import space
from ui.studio import Studio

SIGN_IN = "Sign in with Hugging Face first: the mask is pushed as you."


def is_shared(studio: Studio) -> bool:
    """Whether others than the owner of this machine use the app."""
    return studio.settings.shared


def token_of(studio: Studio, signed_in: gr.OAuthToken | None) -> str | None:
    """The visitor's own token; at home that of the environment or of `hf auth login`.

    A copy that others use never lends them its owner's.
    """
    if signed_in is not None:
        return str(signed_in.token)
    if is_shared(studio):
        return None
    return get_token()


def require_token(studio: Studio, signed_in: gr.OAuthToken | None) -> str | None:
    """As `token_of`, for what can't be done by nobody.

    Raises:
        UserError: for a visitor of a shared copy who has not signed in.
    """
    token = token_of(studio, signed_in)
    if token is None and is_shared(studio):
        raise UserError(SIGN_IN)
    return token


def login_button() -> LoginButton | None:
    """Adds Hugging Face's button where signing in is possible: on a Space with `hf_oauth: true`."""
    here = space.here()
    if here is None or not here.sign_in:
        return None
    if find_spec("authlib") is None or find_spec("itsdangerous") is None:
        return None
    return LoginButton(size="sm", min_width=180, scale=0, elem_id="login")
