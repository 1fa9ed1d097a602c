"""The Hugging Face Hub: whether it can be reached, and masks to and from it.

`publishing`, `fetching` and `browsing` are imported where they are used: the Hub's client takes
a moment to import.
"""

from rlkv.hub.reaching import TIMEOUT_S, require_reachable

__all__ = ["TIMEOUT_S", "require_reachable"]
