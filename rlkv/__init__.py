"""Find the attention heads a reasoning model needs; run it with only those fully cached.

    model, tokenizer = rlkv.load_model("tracer")
    mask = rlkv.HeadMask.load("examples/masks/tracer").at_sparsity(0.5)
    cache = rlkv.SplitHeadCache(model, mask)      # model.generate(past_key_values=cache)

Names are imported on first use, so that `import rlkv` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlkv.cache import SplitHeadCache
    from rlkv.errors import UserError
    from rlkv.masks import HeadMask
    from rlkv.models import load_model

__version__ = "0.1.0"
__all__ = ["HeadMask", "SplitHeadCache", "UserError", "__version__", "load_model"]

_HOMES = {
    "HeadMask": "rlkv.masks",
    "SplitHeadCache": "rlkv.cache",
    "UserError": "rlkv.errors",
    "load_model": "rlkv.models",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rlkv' has no attribute '{name}'")
