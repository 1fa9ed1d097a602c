"""Tiny tokenisers of the two kinds in use, made here: they need no file and no network."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

LETTERS = "▁thesumi.,"
MERGES = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("▁", "s"), ("u", "m"), ("▁s", "um")]


def byte_level() -> Any:
    """As GPT-2, Llama 3 and Qwen: 256 bytes, and nothing merged."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return wrapped(tokenizer)


def byte_fallback() -> Any:
    """As SentencePiece models: words with their space before, bytes for what is unknown."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    words = ["<unk>", *bytes_, *LETTERS, *("".join(pair) for pair in MERGES)]
    tokenizer = Tokenizer(
        models.BPE({word: i for i, word in enumerate(words)}, MERGES, byte_fallback=True,
                   unk_token="<unk>", fuse_unk=True)
    )  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    return wrapped(tokenizer)


def wrapped(tokenizer: Tokenizer) -> Any:
    out = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    out.clean_up_tokenization_spaces = True  # some pretrained ones say so; spaces must survive
    return out
