"""Trains the embedded model `tracer` from nothing and writes it to a folder.

    python examples/train_tracer.py --out examples/models/tracer

A Llama of 4 layers, 16 query heads over 8 KV heads of size 16 (32 gates), tied embeddings. It
learns variable tracing (see `rlkv/tasks/tracing.py`) by next-token prediction on the worked
chain and the answer: short problems first, then the full range. Takes about ten minutes
on two idle CPU cores; the same seed gives a model of the same figures.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlkv.tasks.base import Problem
from rlkv.tasks.tracing import NAMES, THINK_END, draw, solve

PAD, UNK, USER, ASSISTANT, END = "<|pad|>", "<|unk|>", "<|user|>", "<|assistant|>", "<|end|>"
THINK = "<think>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'user' %}<|user|>{{ message.content }}"
    "{% elif message.role == 'assistant' %}<|assistant|>{{ message.content }}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """155 tokens: facts (`c=7`), names, digits, operators and the chat's markers."""
    facts = [f"{name}={digit}" for name in NAMES for digit in range(10)]
    words = [PAD, UNK, USER, ASSISTANT, END, THINK, THINK_END, *":-+=;?", *NAMES, *"0123456789"]
    vocab = {word: i for i, word in enumerate([*words, *facts])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNK))
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s+"), "")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"[{NAMES}]=[0-9]|."), "isolated")
    # Spaces carry no meaning for the model; they are put back for the reader.
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Fuse(),
            decoders.Replace(Regex(r";(?=.)"), "; "),
            decoders.Replace(Regex(rf"(?<==[0-9])(?=[{NAMES}]=)"), " "),
        ]
    )
    tokenizer.add_special_tokens([PAD, UNK, USER, ASSISTANT, END])
    # Not special: skip_special_tokens must keep them, the reader and the verifier need them.
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in (THINK, THINK_END)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNK, eos_token=END, padding_side="left"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.06,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def render(problem: Problem) -> tuple[str, str]:
    """The prompt as the chat template writes it, and what the model should write."""
    chain, answer = solve(problem.prompt)
    return f"{USER}{problem.prompt}{ASSISTANT}{THINK}", f"{chain}{THINK_END}{answer}{END}"


def batch(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random, size: int, sizes: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels `[size, T]`, right-padded; the prompt carries no loss."""
    pairs = [render(draw(rng, rng.randint(*sizes))) for _ in range(size)]
    prompts = tokenizer([p for p, _ in pairs])["input_ids"]
    targets = tokenizer([t for _, t in pairs])["input_ids"]
    length = max(len(p) + len(t) for p, t in zip(prompts, targets, strict=True))
    ids = torch.full((size, length), tokenizer.pad_token_id)
    labels = torch.full((size, length), -100)
    for row, (p, t) in enumerate(zip(prompts, targets, strict=True)):
        ids[row, : len(p) + len(t)] = torch.tensor(p + t)
        labels[row, len(p) : len(p) + len(t)] = torch.tensor(t)
    return ids, labels


def learning_rate(step: int, steps: int, peak: float, warmup: int = 50) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def train(args: argparse.Namespace) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, float]:
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    steps = args.short_steps + args.long_steps
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.1
    )
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens", flush=True)
    start = time.monotonic()
    for step in range(steps):
        sizes = (3, 5) if step < args.short_steps else (3, 8)
        ids, labels = batch(tokenizer, rng, args.batch, sizes)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, args.lr)
        logits = model(ids).logits[:, :-1]
        targets = labels[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 or step == steps - 1:
            right = (logits.argmax(-1) == targets) | (targets < 0)
            print(
                f"step {step:4d}  loss {loss.item():.4f}  whole chains right "
                f"{right.all(-1).float().mean():.2f}  {time.monotonic() - start:.0f} s",
                flush=True,
            )
    return model.eval(), tokenizer, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and problems")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=64, help="problems a step")
    parser.add_argument("--short-steps", type=int, default=700, help="steps on 3-5 names")
    parser.add_argument("--long-steps", type=int, default=600, help="steps on 3-8 names")
    args = parser.parse_args()
    model, tokenizer, seconds = train(args)
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    record = {
        "seed": args.seed,
        "seconds": round(seconds),
        "short_steps": args.short_steps,
        "long_steps": args.long_steps,
        "torch": torch.__version__,
    }
    (args.out / "training.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
