"""Loading models: the embedded one, a Hub id, a local folder or a GGUF file.

A model is checked from its configuration alone before any weight is read (`rlkv.layout`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from rlkv.attention import enable
from rlkv.errors import UserError, first_line, in_full
from rlkv.hub import require_reachable
from rlkv.hub.cached import cached_file
from rlkv.hub.names import split_revision
from rlkv.layout import Layout, Unserved, examine, layout_of
from rlkv.local_path import local_path
from rlkv.masks import HeadMask
from rlkv.out_of_memory import is_out_of_memory
from rlkv.random_shapes import RANDOM_SHAPES
from rlkv.shipped import EXAMPLES
from rlkv.turning_positions import turns_at

EMBEDDED = "tracer"
EMBEDDED_FOLDER = EXAMPLES / "models" / "tracer"


@dataclass(frozen=True)
class ModelSpec:
    """What the rest of the project needs to know of a model."""

    ref: str
    family: str
    layout: Layout
    itemsize: int
    """Bytes of one cached number."""
    max_length: int

    @property
    def name(self) -> str:
        """The last part of the reference, for display."""
        return self.ref.rstrip("/").rsplit("/", 1)[-1]

    @property
    def layers(self) -> int:
        """Layers with full attention: those that have gates."""
        return self.layout.shape[0]

    @property
    def kv_heads(self) -> int:
        return self.layout.shape[1]

    @property
    def group(self) -> int:
        """Query heads that share one KV head."""
        return self.layout.layers[self.layout.gated[0]].group

    @property
    def query_heads(self) -> int:
        return self.kv_heads * self.group

    @property
    def head_dim(self) -> int:
        return self.layout.layers[self.layout.gated[0]].head_dim

    @property
    def gates(self) -> int:
        return self.layers * self.kv_heads

    def kv_bytes(self, mask: HeadMask, length: int, batch: int = 1) -> int:
        """Bytes of keys and values of `batch` rows of `length` tokens, by the formula.

        Layers with a sliding window of their own are counted with that.
        """
        gated = mask.kv_bytes(length, head_dim=self.head_dim, itemsize=self.itemsize, batch=batch)
        return gated + batch * self.itemsize * self.layout.sliding_numbers(length)


def read_spec(ref: str, dtype: torch.dtype | None = None) -> ModelSpec:
    """Reads and checks a model's configuration, no weights.

    Raises:
        UserError: if there is no such model or it can't be served, saying why.
    """
    config, layout = read_config(ref)
    return _spec(ref, config, layout, dtype or default_dtype(default_device()))


def read_config(ref: str) -> tuple[PreTrainedConfig, Layout]:
    """A model's configuration and layout, no weights.

    Raises:
        UserError: as `read_spec`.
    """
    config = _read_config(ref)
    return config, _served(config, ref)


def model_spec(model: PreTrainedModel) -> ModelSpec:
    """The spec of a loaded model."""
    return _spec(model.name_or_path or "model", model.config, layout_of(model), model.dtype)


def load_model(
    ref: str, *, device: str | None = None, dtype: torch.dtype | str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a model for inference or gate training: frozen, in eval mode, ready for any mask.

    Args:
        ref: `tracer`, a Hub id (`org/name`, or `org/name@revision` to pin one), a local folder,
            a .gguf file, or `random:SHAPE`.
        device: `cpu`, `cuda`, `mps`; None or `auto` is a GPU if there is one, else the CPU.
        dtype: or its name; None or `auto` is bfloat16 on CUDA, float32 elsewhere.

    Raises:
        UserError: if there is no such model or it can't be served, saying why.
    """
    device = checked_device(device_named(device or "auto"))
    if isinstance(dtype, str):
        dtype = None if dtype == "auto" else dtype_named(dtype)
    dtype = dtype or default_dtype(device)
    disable_progress_bar()  # of checkpoint shards; the app and the command line show their own
    config = _read_config(ref)
    _served(config, ref)
    if ref.startswith("random:"):
        torch.manual_seed(0)
        with torch.device(device):  # drawn there: a CPU takes minutes for billions of numbers
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    else:
        source, options = _source(ref)
        try:
            # A packed weight would need a kernel, and could not carry the gates' gradient.
            weights: dict[str, Any] = {"use_safetensors": True}
            if "gguf_file" in options:
                weights = {"quantization_config": GgufConfig(dequantize=True)}
            native = {"trust_remote_code": False, **options}  # unset would ask in the terminal
            told = {"ignore_mismatched_sizes": True, "output_loading_info": True}
            model, report = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, **weights, **native, **told
            )
            _require_all_weights(ref, report)
            tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **native)
        except UserError:
            raise
        except Exception as error:  # damaged or packed files make foreign code raise anything
            if is_out_of_memory(error):
                raise
            raise UserError(f"'{ref}' can't be loaded: {in_full(error)}") from error
    model.name_or_path = ref
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    enable(model)
    return model.to(device).eval().requires_grad_(False), tokenizer


def _require_all_weights(ref: str, report: dict[str, Any]) -> None:
    """Numbers that were not in the file would be random ones, and answers noise."""
    absent = [str(name) for name in report["missing_keys"]]
    other = [str(entry[0]) for entry in report["mismatched_keys"]]
    if found := sorted(absent) + sorted(other):
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        how = "missing" if absent else "of another shape"
        raise UserError(
            f"The weights of '{ref}' do not fit its config.json: {found[0]}{more} {how}. "
            "Take both files from the same place again."
        )


def device_named(name: str) -> str:
    """The device that a setting means: "auto" is the fastest at hand."""
    return default_device() if name == "auto" else name


def default_device() -> str:
    """The fastest device at hand."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def default_dtype(device: str) -> torch.dtype:
    """bfloat16 on CUDA (float16 on GPUs too old for it), float32 elsewhere."""
    if not device.startswith("cuda"):
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def checked_device(name: str) -> str:
    """A device name that torch knows and this machine has.

    Raises:
        UserError: if there is no such device here.
    """
    try:
        torch.zeros(1, device=torch.device(name)).item()  # "meta" holds no numbers
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error).split(". ")[0][:100]  # torch goes on for a page
        raise UserError(
            f"There is no device '{name}' here: choose cpu, cuda or mps. ({reason})"
        ) from error
    return name


def dtype_named(name: str) -> torch.dtype:
    """float32, bfloat16 or float16 by name.

    Raises:
        UserError: for another name.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise UserError(f"There is no number format '{name}': choose one of {', '.join(known)}.")
    return known[name]


def _spec(ref: str, config: PreTrainedConfig, layout: Layout, dtype: torch.dtype) -> ModelSpec:
    return ModelSpec(
        ref=ref,
        family=config.model_type,
        layout=layout,
        itemsize=dtype.itemsize,
        max_length=max_length(config),
    )


def max_length(config: PreTrainedConfig) -> int:
    """Tokens that the model reads at most, with one set of positions (`rlkv.turning_positions`)."""
    longest = int(config.get_text_config(decoder=True).max_position_embeddings)
    return min(longest, turns_at(config) or longest)


def _source(ref: str) -> tuple[str, dict[str, Any]]:
    """The first argument of `from_pretrained` and its options."""
    path = EMBEDDED_FOLDER if ref == EMBEDDED else local_path(ref)
    if path and path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name}
    if path and path.is_dir():
        return str(path), {"local_files_only": True}
    repo, revision = split_revision(ref)
    pin = {"revision": revision} if revision else {}
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(
            f"There is no model '{ref}': give '{EMBEDDED}', a folder with config.json and "
            "weights, a .gguf file or a Hub id such as org/name or org/name@revision."
        ) from error
    if cached_file(ref, "config.json"):
        return repo, {"local_files_only": os.environ.get("RLKV_OFFLINE") == "1", **pin}
    require_reachable(f"The model '{ref}'")
    return repo, pin


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
        return AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"There is no model '{ref}': give '{EMBEDDED}', a folder with config.json and "
            f"weights, a .gguf file or a Hub id ({first_line(error)})"
        ) from error
    except Exception as error:  # damaged files make foreign code raise anything
        what = "header" if "gguf_file" in options else "config.json"
        raise UserError(f"The {what} of '{ref}' is no model's: {in_full(error)}") from error


def _served(config: PreTrainedConfig, ref: str) -> Layout:
    """The model's layout; refuses what can't be served, before any weight is read."""
    try:
        return examine(config)
    except Unserved as error:
        raise UserError(
            f"'{ref}' ({config.model_type}) can't be served: {error}. Choose a decoder whose "
            "layers keep an ordinary KV cache, such as Llama, Qwen3, Mistral, Phi-3 or Gemma 3."
        ) from error
