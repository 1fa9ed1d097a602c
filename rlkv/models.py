"""Loading models: the embedded one, a Hub id, a local folder or a GGUF file.

A model is checked from its configuration alone before any weight is read. What may be loaded
is a short list of decoder families whose attention goes through transformers' attention
interface and whose layers all keep an ordinary KV cache.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from rlkv.attention import enable
from rlkv.errors import UserError
from rlkv.hub import require_reachable

FAMILIES = ("llama", "qwen2", "qwen3", "mistral")
EMBEDDED = "tracer"
EMBEDDED_FOLDER = Path(__file__).resolve().parent.parent / "examples" / "models" / "tracer"

RANDOM_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-135m": (
        "llama",
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 131072,
            "tie_word_embeddings": True,
        },
    ),
    "qwen2-1.5b": (
        "qwen2",
        {
            "vocab_size": 151936,
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "max_position_embeddings": 131072,
        },
    ),
}
"""`random:NAME`: random weights in a real model's shape, for measurements without a download."""


@dataclass(frozen=True)
class ModelSpec:
    """What the rest of the project needs to know of a model."""

    ref: str
    family: str
    layers: int
    query_heads: int
    kv_heads: int
    head_dim: int
    itemsize: int
    """Bytes of one cached number."""
    max_length: int

    @property
    def name(self) -> str:
        """The last part of the reference, for display."""
        return self.ref.rstrip("/").rsplit("/", 1)[-1]

    @property
    def group(self) -> int:
        """Query heads that share one KV head."""
        return self.query_heads // self.kv_heads

    @property
    def gates(self) -> int:
        return self.layers * self.kv_heads

    def kv_bytes_per_token(self) -> int:
        """Bytes that the full cache grows by with each token."""
        return 2 * self.head_dim * self.itemsize * self.gates


def read_spec(ref: str, dtype: torch.dtype | None = None) -> ModelSpec:
    """Reads and checks a model's configuration, no weights.

    Raises:
        UserError: if there is no such model or it can't be served, saying why.
    """
    return _spec(ref, _checked(_read_config(ref), ref), dtype or default_dtype(default_device()))


def model_spec(model: PreTrainedModel) -> ModelSpec:
    """The spec of a loaded model."""
    return _spec(model.name_or_path or "model", model.config, model.dtype)


def load_model(
    ref: str, *, device: str | None = None, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a model for inference or gate training: frozen, in eval mode, ready for any mask.

    Args:
        ref: `tracer`, a Hub id, a local folder, a .gguf file, or `random:SHAPE`.
        device: CUDA or Apple GPU if there is one, else the CPU.
        dtype: bfloat16 on CUDA, float32 elsewhere.

    Raises:
        UserError: if there is no such model or it can't be served, saying why.
    """
    device = device or default_device()
    dtype = dtype or default_dtype(device)
    disable_progress_bar()  # of checkpoint shards; the app and the command line show their own
    config = _checked(_read_config(ref), ref)
    if ref.startswith("random:"):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    else:
        source, options = _source(ref)
        try:
            weights = {} if "gguf_file" in options else {"use_safetensors": True}
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **weights, **options)
            tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **options)
        except (OSError, ValueError) as error:
            raise UserError(f"'{ref}' can't be loaded: {_first_line(error)}") from error
    model.name_or_path = ref
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    enable(model)
    return model.to(device).eval().requires_grad_(False), tokenizer


def default_device() -> str:
    """The fastest device at hand."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def default_dtype(device: str) -> torch.dtype:
    """bfloat16 where it is fast, float32 elsewhere."""
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


def _spec(ref: str, config: PreTrainedConfig, dtype: torch.dtype) -> ModelSpec:
    heads = config.num_attention_heads
    return ModelSpec(
        ref=ref,
        family=config.model_type,
        layers=config.num_hidden_layers,
        query_heads=heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        itemsize=dtype.itemsize,
        max_length=config.max_position_embeddings,
    )


def _source(ref: str) -> tuple[str, dict[str, Any]]:
    """The first argument of `from_pretrained` and its options."""
    path = EMBEDDED_FOLDER if ref == EMBEDDED else Path(ref).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        return str(path), {"local_files_only": True}
    try:
        validate_repo_id(ref)
    except HFValidationError as error:
        raise UserError(
            f"There is no model '{ref}': give '{EMBEDDED}', a folder with config.json and "
            "weights, a .gguf file or a Hub id such as org/name."
        ) from error
    if isinstance(try_to_load_from_cache(ref, "config.json"), str):
        return ref, {"local_files_only": os.environ.get("RLKV_OFFLINE") == "1"}
    require_reachable(f"The model '{ref}'")
    return ref, {}


def _read_config(ref: str) -> PreTrainedConfig:
    if ref.startswith("random:"):
        shape = ref.removeprefix("random:")
        if shape not in RANDOM_SHAPES:
            raise UserError(
                f"There is no random shape '{shape}'. Choose one of: {', '.join(RANDOM_SHAPES)}."
            )
        family, sizes = RANDOM_SHAPES[shape]
        return AutoConfig.for_model(family, **sizes)
    source, options = _source(ref)
    try:
        return AutoConfig.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"There is no model '{ref}': give '{EMBEDDED}', a folder with config.json and "
            f"weights, a .gguf file or a Hub id ({_first_line(error)})"
        ) from error


def _checked(config: PreTrainedConfig, ref: str) -> PreTrainedConfig:
    """Refuses what the split cache can't serve, before any weight is read."""
    family = config.model_type
    if family not in FAMILIES:
        raise UserError(
            f"'{ref}' is of the family '{family}', which is not supported. "
            f"Choose a model of: {', '.join(FAMILIES)}."
        )
    layer_types = set(getattr(config, "layer_types", None) or ["full_attention"])
    sliding = getattr(config, "sliding_window", None) is not None and (
        family == "mistral" or "sliding_attention" in layer_types
    )
    if sliding:
        raise UserError(
            f"'{ref}' uses sliding-window attention, whose layers keep a short cache already. "
            "Choose a model with full attention in every layer."
        )
    return config


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
