"""One side of a conversation: reads, draws its next token, can change its mask on the way."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.cache import SplitHeadCache
from rlkv.captured import CapturedDecode
from rlkv.dialogue.frame import Break, SideState, StopReason, Tokens, TokenSeen
from rlkv.dialogue.keeper import Keeper
from rlkv.dialogue.message import SideSpec
from rlkv.dialogue.pieces import Pieces
from rlkv.dialogue.prompt import prompt_tokens
from rlkv.errors import UserError
from rlkv.feeding import feed
from rlkv.generation import PREFILL_CHUNK, Sampling, draw, end_tokens, is_repetitive
from rlkv.masks import HeadMask
from rlkv.models import ModelSpec, model_spec


class Room(Protocol):
    """What is asked before a cache grows; `rlkv.headroom.Headroom` is one."""

    def short(self, more: int = 0) -> bool:
        """Whether there is no room for `more` bytes."""


class Stage:
    """What all sides of one answer share."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        *,
        keeper: Keeper | None = None,
        conversation: str = "",
        headroom: Room | None = None,
        capture: bool = False,
        context: int | None = None,
    ) -> None:
        if capture and model.device.type != "cuda":
            raise UserError(f"CUDA graphs need a CUDA device; this model is on the {model.device}.")
        self.model, self.tokenizer, self.sampling = model, tokenizer, sampling
        self.keeper, self.conversation = keeper, conversation
        self.headroom, self.capture = headroom, capture
        self.spec: ModelSpec = model_spec(model)
        self.context = _context(model, self.spec, context)
        self.ends = end_tokens(model, tokenizer)
        self.everything = HeadMask.full(*self.spec.layout.shape)

    def mask(self, mask: HeadMask | None) -> HeadMask:
        """None means the full cache."""
        return self.everything if mask is None else mask

    def has_room(self, more: int) -> bool:
        """Whether `more` bytes can be taken; caches kept for later make way."""
        if self.headroom is None or not self.headroom.short(more):
            return True
        if self.keeper is None or not self.keeper.nbytes:
            return False
        self.keeper.forget()
        return not self.headroom.short(more)

    def wait(self) -> None:
        """Until the device has done what was asked, so that each side is charged its own time."""
        if self.model.device.type != "cpu":
            torch.accelerator.synchronize(self.model.device)


def _context(model: PreTrainedModel, spec: ModelSpec, wanted: int | None) -> int:
    """Tokens to read at most. Rotary positions are computed, so there is one for any token; learned
    ones end with their table."""
    if wanted is None:
        return spec.max_length
    if wanted > spec.max_length and not getattr(model.config, "rope_parameters", None):
        raise UserError(
            f"This model has learned positions for {spec.max_length:,} tokens and none beyond."
        )
    return wanted


@dataclass(frozen=True)
class Drawn:
    """The next token of a side, before it is written."""

    id: int
    log_p: torch.Tensor
    """Log-probabilities at temperature 1, float32 `[vocabulary]`."""

    def p(self, token: int) -> float:
        """Probability of a token."""
        return min(float(self.log_p[token].exp()), 1.0)


class Run:
    """One side's answer in the making."""

    def __init__(self, stage: Stage, spec: SideSpec) -> None:
        self.stage = stage
        self.mask = spec.mask
        self.prompt, self.text = prompt_tokens(stage.tokenizer, spec.history, stage.context)
        self.ids = list(self.prompt)
        self._written: list[int] = []
        self.cache: SplitHeadCache | None = SplitHeadCache(stage.model, stage.mask(spec.mask))
        self.logits: torch.Tensor | None = None
        """`[1, vocabulary]`, of the token after the last of `ids`; None while that is unread."""
        self.tokens: list[TokenSeen] = []
        self.stop_reason: StopReason | None = None
        self.reused = 0
        self._fed = 0
        self._held = 0  # bytes, when last looked at
        self._captured: CapturedDecode | None = None
        self._pieces = Pieces(stage.tokenizer)
        self._generator = torch.Generator().manual_seed(stage.sampling.seed)
        self._breaks: list[Break] = []
        self._reading_again = False
        self._first_seconds = self._seconds = 0.0
        self._take_up()

    @property
    def running(self) -> bool:
        return self.stop_reason is None

    @property
    def ready(self) -> bool:
        """Whether everything is read, so that the next token can be drawn."""
        return self.logits is not None

    # --- steps ----------------------------------------------------------------------------

    @torch.inference_mode()
    def read(self) -> None:
        """The next chunk of what is not in the cache yet: of the prompt, or the last token."""
        assert self.cache is not None
        begin = time.perf_counter()
        part = self.ids[self._fed : self._fed + PREFILL_CHUNK]
        if not self.stage.has_room(self._growth(len(part))):
            self.end("memory")
            return
        logits = self._forward(torch.tensor([part], device=self.stage.model.device))
        self._fed += len(part)
        if self._fed == len(self.ids):
            self.logits = logits[:, -1].float()
        self.stage.wait()
        self._charge(time.perf_counter() - begin)
        if self.ready and not self.tokens:
            self._keep_prompt()

    @torch.inference_mode()
    def draw(self) -> Drawn:
        """The next token under this side's mask; nothing is written yet."""
        assert self.logits is not None
        begin = time.perf_counter()
        token = int(draw(self.logits, self.stage.sampling, self._generator))
        self._charge(time.perf_counter() - begin)
        # Only looked at by people: not part of what decoding costs.
        return Drawn(token, self.logits[0].log_softmax(-1))

    def name(self, token: int) -> str:
        """How a token would read if it came next."""
        return self._pieces.name(token)

    def write(self, drawn: Drawn, kl: float | None) -> None:
        """Adds the token that was drawn, and finds out whether it is the last."""
        self.ids.append(drawn.id)
        self._written.append(drawn.id)
        self.logits = None
        self._reading_again = False
        self.stop_reason = self._why_stop(drawn.id)
        text = self._pieces.add(drawn.id, last=not self.running)
        self.text += text
        self.tokens.append(TokenSeen(text, drawn.id, drawn.p(drawn.id), kl))

    def change(self, mask: HeadMask | None) -> None:
        """Another mask: everything so far is read again under it, prompt and answer.

        Raises:
            UserError: if the mask is not of the model's shape.
        """
        assert self.cache is not None
        new, old = self.stage.mask(mask), self.cache.mask
        new.require_shape(*old.shape, "this model")
        self.mask = mask
        if (new.kept == old.kept).all() and (new.sink, new.recent) == (old.sink, old.recent):
            return
        self._captured = None
        self.cache.reset()
        self.cache = SplitHeadCache(self.stage.model, new)
        self.logits = None
        self._fed = 0
        self._reading_again = True
        self._breaks.append(Break(len(self.tokens), len(self.ids), mask, 0.0))

    def end(self, reason: StopReason) -> None:
        """Stops here; where memory ran out, the cache is given back at once."""
        self.stop_reason = reason
        if reason == "memory":
            self.free()

    def hand_over(self) -> None:
        """Gives the cache to the keeper, for the next turn."""
        if self.stage.keeper is not None and self.cache is not None and self._fed:
            read = self.ids[: self._fed]
            self._look()
            self.stage.keeper.keep(self.stage.conversation, self.stage.model, read, self.cache)
            self.cache = None

    def free(self) -> None:
        """Frees the cache; what it held is still told."""
        self._look()
        self._captured = None
        self.logits = None
        if self.cache is not None:
            self.cache.reset()
        self.cache = None

    def state(self) -> SideState:
        """A snapshot."""
        self._look()
        return SideState(
            text=self.text,
            tokens=Tokens(self.tokens, len(self.tokens)),
            n_tokens=len(self.tokens),
            prompt_tokens=len(self.prompt),
            reused_tokens=self.reused,
            length=self._fed,
            kv_bytes=self._held,
            kv_bytes_formula=self.stage.spec.kv_bytes(self.stage.mask(self.mask), self._fed),
            first_token_seconds=self._first_seconds,
            seconds=self._seconds,
            stop_reason=self.stop_reason,
            breaks=tuple(self._breaks),
        )

    # --- parts of them --------------------------------------------------------------------

    def _forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Feeds `[1, T]`; logits `[1, 1, vocabulary]`."""
        assert self.cache is not None
        if self.stage.capture and self.tokens and self._fed == len(self.ids) - 1:
            if self._captured is None:
                self._captured = CapturedDecode(self.stage.model, self.cache)
            return self._captured.step(ids)
        logits: torch.Tensor = feed(
            self.stage.model, self.cache, input_ids=ids, logits_to_keep=1
        ).logits
        return logits

    def _charge(self, seconds: float) -> None:
        """Adds own time to what it was spent on."""
        if self._reading_again:
            last = self._breaks[-1]
            self._breaks[-1] = replace(last, seconds=last.seconds + seconds)
            if self.tokens:
                return
        if self.tokens:
            self._seconds += seconds
        else:
            self._first_seconds += seconds

    def _why_stop(self, token: int) -> StopReason | None:
        if token in self.stage.ends:
            return "end"
        if len(self._written) >= self.stage.sampling.max_new_tokens:
            return "length"
        if len(self.ids) > self.stage.context:
            return "length"
        return "repetition" if is_repetitive(self._written) else None

    def _growth(self, tokens: int) -> int:
        """Bytes by which the cache grows, by the formula."""
        mask, spec = self.stage.mask(self.mask), self.stage.spec
        return spec.kv_bytes(mask, self._fed + tokens) - spec.kv_bytes(mask, self._fed)

    def _look(self) -> None:
        """Measures the cache, while there is one."""
        if self.cache is not None:
            self._held = self.cache.nbytes

    # --- what was read before -------------------------------------------------------------

    def _take_up(self) -> None:
        """Begins with a cache that has read the beginning of the prompt already, if one has."""
        keeper, mask = self.stage.keeper, self.stage.mask(self.mask)
        if keeper is None:
            return
        found = keeper.find(self.stage.conversation, self.stage.model, mask, self.prompt)
        if found is None:
            return
        self.cache = found.cache
        self._fed = self.reused = len(found.ids)
        if self._fed == len(self.prompt):
            self.logits = found.logits

    def _keep_prompt(self) -> None:
        """A copy with the prompt read, for the next attempt at the same question."""
        keeper, cache = self.stage.keeper, self.cache
        if keeper is None or cache is None:
            return
        if keeper.has_room(cache.nbytes) and self.stage.has_room(cache.nbytes):
            keeper.keep(
                self.stage.conversation, self.stage.model, self.prompt, cache.fork(), self.logits
            )
