"""The chat page: one question to the same model under several masks, and what each one costs."""

from ui.chat.page import build

__all__ = ["build"]
