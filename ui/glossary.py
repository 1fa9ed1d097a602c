"""The words of the field, each in one or two plain sentences, and a way to use them in a text.

`term` makes a word that opens its definition where it stands. Knows words only.
"""

from __future__ import annotations

from html import escape
from itertools import count

TERMS: dict[str, tuple[str, str]] = {
    "layer": (
        "Layer",
        "One of the steps, one after another, in which the model reworks its text. "
        "Every layer has its own attention heads.",
    ),
    "head": (
        "Attention head",
        "A part of a layer that looks back over the text and picks what to read from it. "
        "Each head learns to look for something else.",
    ),
    "kv head": (
        "KV head",
        "The memory that one or several attention heads of a layer share: one key and one value "
        "for every token so far. It is the smallest piece that can be kept or compressed.",
    ),
    "kv cache": (
        "KV cache",
        "Where the model keeps keys and values of all tokens so far, so that it need not "
        "compute them again. It grows with every token.",
    ),
    "full cache": (
        "Full cache",
        "A KV head with a full cache keeps every token. It can look back as far as it likes.",
    ),
    "compressed": (
        "Compressed",
        "A compressed KV head keeps only the first tokens (sinks) and the latest ones (recent "
        "window). All in between is forgotten, so its memory stops growing.",
    ),
    "streaming": (
        "Streaming head",
        "A head that gets by on the first and the latest tokens. Compressing it costs little.",
    ),
    "sink": (
        "Sink",
        "One of the first tokens of a text. Heads rest their attention there when they look for "
        "nothing in particular, so even a compressed head keeps them.",
    ),
    "recent": (
        "Recent window",
        "The latest tokens, a fixed number of them, that a compressed head still keeps.",
    ),
    "far": (
        "Far token",
        "A token that is neither a sink nor in the recent window. Only a full cache still has it.",
    ),
    "gate": (
        "Gate",
        "A number from 0 to 1, learned for each KV head. At 1 the head reads the whole past, at "
        "0 only sinks and recent tokens; in between it reads a mix of both.",
    ),
    "score": (
        "Score",
        "The number that decides how long a head stays as more heads are compressed. It is the "
        "gate itself, or, where heads were compressed one by one after the training, how late "
        "this one went; so a head with a low gate can have a high score.",
    ),
    "rank": (
        "Rank",
        "A head's place when all heads are sorted by their scores. Rank 1 is needed most.",
    ),
    "threshold": (
        "Threshold",
        "The score at which the cut falls: heads above it keep a full cache.",
    ),
    "mask": (
        "Mask",
        "The choice of which KV heads keep a full cache, with the scores behind it.",
    ),
    "hard mask": (
        "Hard mask",
        "A mask of yes and no: each head is kept or compressed, with nothing in between. It is "
        "what saves memory; soft gates do not yet.",
    ),
    "sparsity": (
        "Sparsity",
        "The share of KV heads that are compressed. It does not depend on the length of the text.",
    ),
    "kv saved": (
        "KV saved",
        "The share of the KV cache's bytes that compression saves at the present length. It grows "
        "with the text towards the sparsity.",
    ),
    "grpo": (
        "GRPO",
        "The reinforcement learning used here: the model answers each problem several times, and "
        "what led to better answers than the others' average is made likelier.",
    ),
    "reward": ("Reward", "What an answer earns in training: 1 if it is right, 0 if it is wrong."),
    "rollout": ("Rollout", "One answer that the model writes during training, to be rewarded."),
    "penalty": (
        "Penalty",
        "The price that training puts on open gates. Only heads whose memory earns reward "
        "stay open against it.",
    ),
    "seed": (
        "Seed",
        "The number that fixes every random choice in a training. Another seed shows other "
        "problems in another order.",
    ),
    "agreement": (
        "Agreement",
        "In how many trainings with different seeds a head is kept at the same cut. Heads that "
        "are always kept did not get there by luck.",
    ),
    "induction": (
        "Induction",
        "Finding an earlier place where the same token stood, and looking at what came after it. "
        "It is how a model continues a pattern it has seen.",
    ),
    "retrieval": (
        "Retrieval",
        "Looking at a far token at the very moment when the model writes it again: copying a "
        "fact from long ago.",
    ),
    "reward gradient": (
        "Gradient of the reward",
        "How much less likely a right answer would become if the head's gate were closed a "
        "little. It needs no training, but sees only small changes.",
    ),
    "attention": (
        "Attention",
        "How a head shares out its look at one moment: a percentage for each token so far, "
        "100 % in all.",
    ),
    "token": ("Token", "The piece of text a model reads and writes at a time: a word or less."),
    "kl": (
        "KL",
        "How much a change moves the odds of the next token, in nats. 0 is no change; from about "
        "1 on, the model would often write something else.",
    ),
    "first changed token": (
        "First changed token",
        "The first place where the changed model would write another token. From there on the "
        "two answers go their own ways.",
    ),
    "accuracy": ("Accuracy", "The share of problems that are answered right."),
    "chain of thought": (
        "Chain of thought",
        "The steps that a reasoning model writes down before its answer. They are long, and the "
        "answer leans on all of them.",
    ),
}
"""key -> (how it is written, what it means)"""

_ids = count(1)


def term(key: str, words: str | None = None, *, before: str = "", after: str = "") -> str:
    """HTML of a word that opens its definition; `words` is how it reads here, "gates" for "gate".

    `before` and `after` are brackets and stops that no end of a line may part from the word.

    KeyError for a key that is not in `TERMS`: a typing mistake of ours.
    """
    name, meaning = TERMS[key]
    label = escape(words or name)
    card = f"term-{next(_ids)}"
    word = (
        f'<button type="button" class="term" popovertarget="{card}" aria-haspopup="dialog">'
        f"{label}</button>"
        f'<span id="{card}" class="term-card" popover role="dialog" aria-label="{escape(name)}">'
        f"<b>{escape(name)}</b>{escape(meaning)}</span>"
    )
    if not before and not after:
        return word
    return f'<span class="with-term">{escape(before)}{word}{escape(after)}</span>'


def glossary_list() -> str:
    """HTML of all terms with their meanings, by name."""
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(meaning)}</dd></div>"
        for name, meaning in sorted(TERMS.values())
    )
    return f'<dl class="glossary">{rows}</dl>'
