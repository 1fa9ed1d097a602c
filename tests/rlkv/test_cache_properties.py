"""Any way of feeding a split cache equals the dense reference on the same tokens."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from rlkv.cache import SplitHeadCache
from rlkv.masks import HeadMask
from tests.rlkv.families import KV_HEADS, LAYERS, VOCAB, tiny
from tests.rlkv.test_cache import dense_logits, head_mask, split_logits_at

ROWS = 3
MODEL = tiny("llama")
MODELS = {family: tiny(family) for family in ("llama", "qwen3", "gemma2", "gpt_oss")}

heads = st.lists(st.booleans(), min_size=LAYERS * KV_HEADS, max_size=LAYERS * KV_HEADS)
windows = st.tuples(st.integers(0, 5), st.integers(1, 9))
pads = st.lists(st.integers(0, 12), min_size=ROWS, max_size=ROWS)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(1, 14)),
        st.tuples(st.just("decode"), st.integers(1, 6)),
        st.tuples(st.just("fork"), st.integers(1, 4)),
        st.tuples(st.just("reset"), st.just(0)),
        st.tuples(st.just("select"), st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS)),
    ),
    min_size=2,
    max_size=8,
)


def mask_of(kept: list[bool], window: tuple[int, int]) -> HeadMask:
    table = np.array(kept).reshape(LAYERS, KV_HEADS)
    return HeadMask(table.astype(np.float32), table, sink=window[0], recent=window[1])


@dataclass
class Talk:
    """A cache and all that it has been fed, to compare with one dense pass."""

    family: str
    mask: HeadMask
    pads: list[int]
    generator: torch.Generator
    model: PreTrainedModel = field(init=False)
    ids: torch.Tensor = field(init=False)
    cache: SplitHeadCache = field(init=False)
    got: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = MODELS[self.family]
        self.cache = SplitHeadCache(self.model, self.mask)
        self.reset()

    def reset(self) -> None:
        self.ids = torch.empty(len(self.pads), 0, dtype=torch.long)
        self.cache.reset()
        self.got = []

    def attention(self) -> torch.Tensor:
        columns = torch.arange(self.ids.shape[1])
        return (columns >= torch.tensor(self.pads)[:, None]).long()

    def inputs(self) -> dict[str, torch.Tensor]:
        attention = self.attention()
        positions = (attention.cumsum(-1) - 1).clamp(min=0)
        return {
            "input_ids": self.ids, "attention_mask": attention, "position_ids": positions
        }  # fmt: skip

    def feed(self, length: int, cache: SplitHeadCache | None = None) -> None:
        new = torch.randint(2, VOCAB, (len(self.pads), length), generator=self.generator)
        before = self.ids
        self.ids = torch.cat([before, new], dim=1)
        inputs = self.inputs()
        part = slice(before.shape[1], None)
        logits = self.model(
            input_ids=new,
            attention_mask=inputs["attention_mask"],
            position_ids=inputs["position_ids"][:, part],
            past_key_values=cache or self.cache,
        ).logits
        self.got.append(logits)

    def check(self) -> None:
        if not self.got:
            return
        inputs = self.inputs()
        want = dense_logits(self.family, self.mask, inputs)
        real = inputs["attention_mask"].bool()
        torch.testing.assert_close(torch.cat(self.got, 1)[real], want[real], atol=1e-5, rtol=1e-5)

    def select(self, rows: list[int]) -> None:
        rows = [row % len(self.pads) for row in rows]
        if not self.got:
            return
        index = torch.tensor(rows)
        self.cache.batch_select_indices(index)
        self.ids = self.ids[index]
        self.got = [logits[index] for logits in self.got]
        self.pads = [self.pads[row] for row in rows]

    def fork(self, length: int) -> None:
        """Feeds a fork something else; the original must not notice."""
        if not self.got:
            return
        ids, got = self.ids, list(self.got)
        self.feed(length, self.cache.fork())
        self.check()
        self.ids, self.got = ids, got


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    family=st.sampled_from(sorted(MODELS)),
    kept=heads,
    window=windows,
    pads=pads,
    actions=actions,
)
def test_any_sequence_equals_the_dense_reference(
    family: str,
    kept: list[bool],
    window: tuple[int, int],
    pads: list[int],
    actions: list[tuple[str, int | list[int]]],
) -> None:
    talk = Talk(family, mask_of(kept, window), pads, torch.Generator().manual_seed(0))
    for name, value in actions:
        if name == "reset":
            talk.reset()
        elif isinstance(value, list):
            talk.select(value)
        elif name == "fork":
            talk.fork(value)
        else:
            for length in [value] if name == "feed" else [1] * value:
                talk.feed(length)
    talk.check()


def test_two_threads_with_different_masks_get_what_each_gets_alone() -> None:
    inputs = {"input_ids": torch.randint(2, VOCAB, (1, 60))}
    masks = [head_mask("half"), head_mask("mixed")]

    def run(mask: HeadMask) -> torch.Tensor:
        cache = SplitHeadCache(MODEL, mask)
        return torch.cat([split_logits_at(MODEL, cache, inputs, i) for i in range(60)], dim=1)

    alone = [run(mask) for mask in masks]
    together: dict[int, torch.Tensor] = {}
    threads = [
        threading.Thread(target=lambda i=i: together.update({i: run(masks[i])})) for i in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(together[i], alone[i]) for i in (0, 1))
