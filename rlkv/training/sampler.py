"""Draws the rollouts of a training: under the gates as they act, or under the mask they make."""

from __future__ import annotations

from dataclasses import replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache

from rlkv.cache import SplitHeadCache
from rlkv.cuts import kept_count
from rlkv.gates import Gates
from rlkv.generation import end_tokens
from rlkv.masks import HeadMask
from rlkv.training.config import TrainConfig
from rlkv.training.eval_mode import in_eval_mode
from rlkv.training.rollout import Draw, Rollout, rollouts
from rlkv.training.rollout_cache import WholeCache


class Sampler:
    """Rollouts of one model with attached gates."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        gates: Gates,
        config: TrainConfig,
    ) -> None:
        self.model, self.gates, self.config = model, gates, config
        self.ends = end_tokens(model, tokenizer)
        self.how = Draw(config.max_new_tokens, config.temperature, config.top_p, config.top_k)

    def draw(self, prompts: list[list[int]]) -> list[Rollout]:
        """On-policy answers: the same attention as the loss computes."""
        if self.gates.kept is not None:
            return self._run(prompts, self.how, self.mask(self.gates.kept))
        with self.gates.held():
            return self._run(prompts, self.how, None)

    def greedy(self, prompts: list[list[int]], mask: HeadMask) -> list[Rollout]:
        """Greedy answers under a mask, as it would be deployed."""
        return self._run(prompts, Draw(self.config.max_new_tokens, temperature=0.0), mask)

    def mask(self, count: int) -> HeadMask:
        """The mask of the `count` highest gates, with the window of training."""
        values = self.gates.values.detach().cpu().numpy()
        sink, recent = self.config.sink, self.config.recent
        scored = HeadMask.from_scores(values, sparsity=0.5, sink=sink, recent=recent)
        return scored.keep_best(count)

    def target_mask(self) -> HeadMask:
        """The mask at the sparsity that the training aims for, with the window to deploy."""
        sink, recent = self.config.window
        aimed = self.mask(kept_count(self.gates.values.numel(), self.config.target_sparsity))
        return replace(aimed, sink=sink, recent=recent)

    def _run(self, prompts: list[list[int]], how: Draw, mask: HeadMask | None) -> list[Rollout]:
        def new_cache() -> Cache:
            return WholeCache(self.model) if mask is None else SplitHeadCache(self.model, mask)

        with in_eval_mode(self.model):
            return rollouts(
                self.model, prompts, how, self.ends, new_cache, self.config.rollout_rows
            )
