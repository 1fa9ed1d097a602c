"""Rankings of heads that are made for an evaluation, on the model itself, kept in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.evaluation.config import EvalConfig
from rlkv.evaluation.methods import METHODS
from rlkv.evaluation.samples import EvalObserver
from rlkv.explore.probes import probe_texts
from rlkv.explore.rankings import RANKINGS, Probe
from rlkv.streaming import StreamingWindow

if TYPE_CHECKING:
    from rlkv.baselines.duo_settings import DuoSettings

Scores = NDArray[np.float32]


def rankings(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: EvalConfig,
    folder: Path,
    observer: EvalObserver,
) -> dict[str, Scores]:
    """Scores `[layers, kv_heads]` of every chosen method that ranks heads by itself.

    What an earlier attempt has finished is read back.

    Raises:
        Stopped: if the observer wants an end.
        UserError: if a ranking can't be made on this task or model.
    """
    wanted = [key for key in config.methods if METHODS[key].ranks_the_model]
    found: dict[str, Scores] = {}
    for done, key in enumerate(wanted):
        path = folder / f"ranking-{key}.npy"
        if path.is_file():
            found[key] = np.load(path, allow_pickle=False)
            continue
        observer.phase("ranking", done, len(wanted))
        observer.event(f"Ranking the heads: {METHODS[key].title}")
        make: Maker = METHODS[key].load() if METHODS[key].home else _probed(key)
        found[key] = make(model, tokenizer, config, observer)
        _save(path, found[key])
    return found


Maker = Callable[[PreTrainedModel, PreTrainedTokenizerBase, EvalConfig, EvalObserver], Scores]
"""Ranks the heads of a model, `[layers, kv_heads]`, higher for heads that have to stay."""


def _probed(key: str) -> Maker:
    """A ranking that looks at the model's own right answers to training problems."""

    def make(
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: EvalConfig,
        observer: EvalObserver,
    ) -> Scores:
        stop = observer.should_stop
        texts = probe_texts(model, tokenizer, config.task, config.probes, config.seed, stop=stop)
        if not texts[0].right:
            observer.event("The model got none of these problems right: wrong answers are read")
        elif len(texts) < config.probes:
            observer.event(f"Only {len(texts)} of {config.probes} right answers were found for it")
        probe = Probe(model, tokenizer, texts, StreamingWindow(*config.window), config.seed, stop)
        return np.asarray(RANKINGS[key].scores(probe), dtype=np.float32)

    return make


def duo(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: EvalConfig,
    observer: EvalObserver,
) -> Scores:
    """DuoAttention's gates, trained on this model with the window to come."""
    from rlkv.baselines.duo import DuoStep, duo_scores

    settings = duo_settings(model, config)

    def step(done: DuoStep) -> None:
        observer.phase("DuoAttention", done.step, settings.steps)

    return duo_scores(model, tokenizer, settings, on_step=step, stop=observer.should_stop)


def duo_settings(model: PreTrainedModel, config: EvalConfig) -> DuoSettings:
    """DuoAttention's constants, scaled to what the model reads and to the window to come."""
    from rlkv.baselines.duo_settings import DuoSettings

    window = StreamingWindow(*config.window)
    fitted = DuoSettings.fitted(model, window=window, seed=config.seed)
    return fitted.model_copy(update={"steps": config.duo_steps or fitted.steps})


def _save(path: Path, scores: Scores) -> None:
    part = path.with_suffix(".part.npy")
    np.save(part, scores)
    part.replace(path)
