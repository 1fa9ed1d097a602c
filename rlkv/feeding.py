"""Handing a cache to a model, under the name that the installed transformers knows it by."""

from __future__ import annotations

from typing import Any

import transformers
from packaging.version import Version
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

CACHE = "cache" if Version(transformers.__version__) >= Version("5.24") else "past_key_values"
"""5.24 renamed the argument, and warns whenever it meets the old name."""


def feed(model: PreTrainedModel, cache: Cache, **inputs: Any) -> Any:
    """One forward pass that reads and fills a cache; what the model returns."""
    return model(**inputs, **{CACHE: cache})
