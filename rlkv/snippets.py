"""A mask's use, as lines to paste: Python with a stock transformers model, and a command."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from rlkv.hub.names import at_revision, split_revision

if TYPE_CHECKING:
    from rlkv.masks import HeadMask

EMBEDDED = "tracer"
PUZZLE = "c=7; b=6; e:c-b; k:c-e; ?k"
QUESTION = "What is 17 * 23?"


def python_snippet(mask: HeadMask, ref: str = "") -> str:
    """A program that answers a question under the mask.

    Args:
        ref: what the mask is loaded from: a Hub repository, a folder, a file. Without one the mask
            travels in the program itself, as a link text: its kept heads and window.

    The model is loaded by transformers itself; the embedded one, which the Hub does not have, by
    `rlkv.load_model`. A mask whose model is not known leaves its name to fill in.
    """
    model, pinned = split_revision(mask.model or "the/model-it-was-learned-on")
    if model == EMBEDDED:
        imports = "import rlkv\n"
        loaded = f"model, tokenizer = rlkv.load_model({_quoted(EMBEDDED)})\n"
    else:
        imports = "import rlkv\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
        pin = mask.revision or pinned
        revision = f", revision={_quoted(pin)}" if pin else ""
        loaded = (
            f"model = AutoModelForCausalLM.from_pretrained({_quoted(model)}{revision})\n"
            f"tokenizer = AutoTokenizer.from_pretrained({_quoted(model)}{revision})\n"
        )
    return (
        f"{imports}\n{loaded}"
        "inputs = tokenizer.apply_chat_template(\n"
        f'    [{{"role": "user", "content": {_quoted(_question(model))}}}],\n'
        '    add_generation_prompt=True, return_tensors="pt", return_dict=True,\n'
        ").to(model.device)\n\n"
        f"mask = rlkv.HeadMask.load({_quoted(ref or mask.to_link())})\n"
        "cache = rlkv.SplitHeadCache(model, mask)\n"
        "output = model.generate(**inputs, past_key_values=cache, max_new_tokens=256)\n\n"
        'print(tokenizer.decode(output[0][inputs["input_ids"].shape[1]:], '
        "skip_special_tokens=True))\n"
        f'print(f"{{cache.nbytes:,}} bytes of KV cache, {mask.n_kept} of {mask.kept.size} heads '
        'kept whole")\n'
    )


def cli_snippet(mask: HeadMask, ref: str = "") -> str:
    """The same as a command; see `python_snippet`."""
    model = mask.model or "the/model-it-was-learned-on"
    pinned = at_revision(model, mask.revision)
    words = ["python", "-m", "rlkv", "chat", "--model", pinned, "--mask", ref or mask.to_link()]
    return shlex.join([*words, _question(model)]) + "\n"


def _question(model: str) -> str:
    return PUZZLE if model == EMBEDDED else QUESTION


def _quoted(text: str) -> str:
    """A Python string literal of one line, whatever the text."""
    return json.dumps(text)
